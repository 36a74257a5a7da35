"""A small service on the real engine, run as a process of its own and killed by tests.

A ledger keeps the numbers it was told, in order. It exercises every effect: it tells another ledger, asks a
service and a port, sets a timer, publishes an event, commands an Asterisk, and breaks on demand.
"""

import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from evercall.actor import model
from evercall.actor.model import ActorKind, Answered, Decision, Index, TimerFired
from evercall.actor.runtime import ActorRuntime
from evercall.actor.store import ActorStore
from evercall.actor.turn import Delivery, LiveActors
from evercall.contracts.asterisk import AriCommand
from evercall.contracts.base import Message, Request
from evercall.service.process import Process, run_process
from evercall.service.settings import ServiceSettings


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    created_at: datetime
    numbers: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


class Add(Message, frozen=True, kw_only=True):
    """Write a number down; with `mirror` tell it to another ledger too."""

    id: UUID
    number: int
    mirror: UUID | None = None


class Read(Request[Ledger], frozen=True, kw_only=True):
    id: UUID


class Doubled(msgspec.Struct, frozen=True, kw_only=True):
    number: int


class Double(Request[Doubled], frozen=True, kw_only=True):
    number: int


class AskFor(Message, frozen=True, kw_only=True):
    """Ask `service` for the double of a number, and note the answer."""

    id: UUID
    service: str
    number: int


class Remind(Message, frozen=True, kw_only=True):
    id: UUID
    milliseconds: int
    name: str = "reminder"


class Order(Message, frozen=True, kw_only=True):
    """Command an Asterisk, and wait until it is settled."""

    id: UUID
    key: str


class Settled(Message, frozen=True, kw_only=True):
    id: UUID
    key: str


class Break(Message, frozen=True, kw_only=True):
    id: UUID


class Unwritable(Message, frozen=True, kw_only=True):
    """Leads to a state that the store can't encode."""

    id: UUID


ACCEPTS = (Add, Read, AskFor, Remind, Order, Settled, Break, Unwritable)
OWN = "ledger"
CUSTOMER = UUID(int=1)
ASTERISK = "ledger-test"


def decide(state: Ledger | None, message: Message, now: datetime) -> Decision[Ledger]:
    identifier = getattr(message, "id", None)
    ledger = state or Ledger(id=identifier or UUID(int=0), created_at=now)
    match message:
        case Add(number=number, mirror=mirror):
            ledger = msgspec.structs.replace(ledger, numbers=(*ledger.numbers, number))
            effects: list[model.Effect] = [
                model.Publish("ledger", "added", CUSTOMER, Doubled(number=number))
            ]
            if mirror is not None:
                effects.append(model.Tell(service(), mirror, Add(id=mirror, number=number)))
            return Decision(ledger, tuple(effects))
        case Read():
            return Decision(state, (model.Reply(ledger),))
        case AskFor(service=to, number=number):
            return Decision(ledger, (model.Ask(f"double-{number}", to, Double(number=number)),))
        case Answered(key=key, body=Doubled(number=number)):
            return Decision(_note(ledger, f"{key}={number}"))
        case Remind(milliseconds=milliseconds, name=name):
            at = now + timedelta(milliseconds=milliseconds)
            return Decision(ledger, (model.SetTimer(name, at),))
        case TimerFired(name=name):
            return Decision(_note(ledger, name))
        case Order(key=key):
            command = AriCommand(actor=ledger.id, key=key, method="POST", uri="/")
            return Decision(ledger, (model.Command(ASTERISK, "boot", command),))
        case Settled(key=key):
            return Decision(_note(ledger, f"settled {key}"), (model.Settle(key),))
        case Break():
            raise RuntimeError("broken on demand")
        case Unwritable():
            return Decision(msgspec.structs.replace(ledger, notes=(object(),)))
    raise AssertionError(message)


def _note(ledger: Ledger, note: str) -> Ledger:
    return msgspec.structs.replace(ledger, notes=(*ledger.notes, note))


KIND = ActorKind(
    "ledger", Ledger, decide, lambda state: Index(CUSTOMER, state.created_at, live=True)
)


def service() -> str:
    """The service's name in this test run."""
    return os.environ["LEDGER_SERVICE"]


def receive(message: Message, live: LiveActors) -> Iterable[Delivery]:
    del live
    return [Delivery("ledger", message.id, message)]  # type: ignore[attr-defined]


class SlowPort:
    """Answers after IO would have taken place."""

    def known(self, request: Double) -> None:
        del request

    async def answer(self, request: Double) -> Doubled:
        return Doubled(number=2 * request.number)


async def compose(process: Process[ServiceSettings]) -> None:
    bus, database = await process.bus(), await process.database()
    runtime = ActorRuntime(
        process,
        bus,
        ActorStore(database, service(), [KIND], process.settings.shards),
        service(),
        [KIND],
        ACCEPTS,
        receive,
        {"port": SlowPort()},
    )
    await bus.serve(f"{service()}_doubler", {Double: _double})
    await runtime.start()


async def _double(request: Double) -> Doubled:
    return Doubled(number=2 * request.number)


if __name__ == "__main__":
    run_process(service(), ServiceSettings, compose)
