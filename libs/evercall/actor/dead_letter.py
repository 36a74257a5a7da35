"""Dead letters: messages that were given up for a fault of their own, kept whole so that they can be replayed.

A dead letter is a row in the table `dead_letter` of its service, written in the same transaction that marks the
message as handled. It keeps the bytes and the AMQP properties of the message. `evercall.actor.dead` lists, shows,
replays and drops them.
"""

from dataclasses import dataclass
from uuid import UUID

from evercall.bus.envelope import Incoming, encode

LONGEST_REASON = 2_000

REPLAY = "replay/"
"""A message whose correlation id begins so is a dead letter again; the id of the one actor that is to hear it
follows, where it was only one of several that failed."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be handled.

    Attributes:
        id: of the row; the replayed message has it as its message id, so replaying twice counts once.
        shard: where it had arrived.
        actor: who failed on it; None when it could not be read at all.
        reason: class and text of the error.
        type, message_id, correlation_id, reply_to: its AMQP properties. The type `timer` is a timer of the
            actor, which no message can stand for.
        body: the bytes as they came.
    """

    id: UUID
    shard: int
    actor: UUID | None
    reason: str
    type: str
    body: bytes
    message_id: str = ""
    correlation_id: str | None = None
    reply_to: str | None = None

    @property
    def properties(self) -> bytes:
        """The AMQP properties as JSON."""
        return encode(
            {
                "type": self.type,
                "message_id": self.message_id,
                "correlation_id": self.correlation_id,
                "reply_to": self.reply_to,
            }
        )


def dead_letter(
    identifier: UUID, incoming: Incoming, shard: int, error: Exception, actor: UUID | None = None
) -> DeadLetter:
    """A message from the broker as a dead letter."""
    return DeadLetter(
        id=identifier,
        shard=shard,
        actor=actor,
        reason=reason_of(error),
        type=incoming.type,
        body=incoming.body,
        message_id=incoming.message_id,
        correlation_id=incoming.correlation_id,
        reply_to=incoming.origin.reply_to if incoming.origin else None,
    )


def reason_of(error: Exception) -> str:
    """The error as text, not too long."""
    return storable(f"{type(error).__name__}: {error}"[:LONGEST_REASON])


def storable(text: str) -> str:
    """Text that PostgreSQL takes: without U+0000 and lone surrogates."""
    return text.replace("\0", "\\0").encode(errors="replace").decode()
