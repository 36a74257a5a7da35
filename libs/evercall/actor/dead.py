"""Dead letters from the command line: `python -m evercall.actor.dead list | show | replay | drop`.

Reads `EVERCALL_DATABASE_URL`, and for `replay` `EVERCALL_AMQP_URL` too. It sees the services whose tables its
database role may read. A letter is named by its id, or by the first characters of it.

    list                    the newest first: id, time, service, shard, type, actor, reason
    show ID                 one letter whole: properties, body
    replay ID … | --all     publishes the message again, for the actor that had failed on it; then removes the row
    drop ID … | --all       removes the row; the message is gone
"""

import argparse
import asyncio
import base64
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec
from pydantic import ValidationError

from evercall.actor.dead_letter import REPLAY
from evercall.bus import topology
from evercall.bus.bus import Bus, Letter
from evercall.bus.envelope import ANSWER, ERROR
from evercall.bus.wire import Properties
from evercall.service.errors import PlatformError
from evercall.service.settings import ServiceSettings
from evercall.store.address import Address
from evercall.store.database import STORE_ERRORS

CONNECT_TIMEOUT = 10.0
COMMAND_TIMEOUT = 15.0
TIMER = "timer"

_SCHEMAS = """SELECT table_schema FROM information_schema.tables
WHERE table_name = 'dead_letter' ORDER BY table_schema"""

_COLUMNS = "id, at, shard, actor, reason, type, properties, body"


class Refusal(Exception):
    """What was asked for cannot be done; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """A dead letter with its service."""

    service: str
    id: UUID
    at: datetime
    shard: int
    actor: UUID | None
    reason: str
    type: str
    properties: str
    body: bytes

    @property
    def property(self) -> dict[str, str | None]:
        """The AMQP properties by name."""
        return msgspec.json.decode(self.properties, type=dict[str, str | None])


def replayed(row: Row) -> Letter:
    """The message that a dead letter becomes again.

    Its message id is that of the letter: a replay that is repeated counts once. Nobody waits for the reply to
    a request any more, so it asks for none.

    Raises:
        Refusal: it stands for a timer, which no message can, or is an answer that nobody waits for.
    """
    if row.type == TIMER:
        raise Refusal(f"{row.id} is a timer: its actor's next owner lets it fire again by itself")
    if row.type in (ANSWER, ERROR):
        raise Refusal(
            f"{row.id} is an answer: its actor heard of an error instead, and waits no more"
        )
    correlation = f"{REPLAY}{row.actor}" if row.actor else None
    headers = Properties(type=row.type, message_id=row.id.hex, correlation_id=correlation)
    return Letter(topology.RPC, topology.shard_key(row.service, row.shard), headers, row.body)


def line(row: Row) -> str:
    """A letter in the list."""
    at = row.at.isoformat(sep=" ", timespec="seconds")
    actor = row.actor or "-"
    return f"{row.id}  {at}  {row.service}/{row.shard}  {row.type or '-'}  {actor}  {row.reason}"


def whole(row: Row) -> str:
    """A letter with all that is known of it. The body is shown as text, or base64 where it is none."""
    facts = {
        "id": row.id,
        "at": row.at.isoformat(),
        "service": row.service,
        "shard": row.shard,
        "actor": row.actor or "-",
        "reason": row.reason,
        **{f"property {name}": value for name, value in row.property.items() if value},
        "body": _text(row.body),
    }
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"base64 {base64.b64encode(body).decode()}"
    return text if text.isprintable() else repr(text)


class DeadLetters:
    """The tables of all services that may be read."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def find(self, service: str = "", limit: int | None = None) -> list[Row]:
        """Letters, newest first."""
        rows: list[Row] = []
        for schema in await self._schemas(service):
            query = (
                f"SELECT {_COLUMNS} FROM {schema}.dead_letter ORDER BY at DESC, id DESC LIMIT $1"  # noqa: S608
            )
            rows += [Row(schema, **row) for row in await self._connection.fetch(query, limit)]
        rows.sort(key=lambda row: (row.at, row.id), reverse=True)
        return rows[:limit]

    async def named(self, names: Sequence[str]) -> list[Row]:
        """The letters with these ids, or beginnings of ids.

        Raises:
            Refusal: there is no such letter, or more than one.
        """
        rows = await self.find()
        return [
            _only(name, [row for row in rows if str(row.id).startswith(name)]) for name in names
        ]

    async def remove(self, row: Row) -> None:
        """Removes a letter."""
        query = f"DELETE FROM {row.service}.dead_letter WHERE id = $1"  # noqa: S608
        await self._connection.execute(query, row.id)

    async def _schemas(self, service: str) -> list[str]:
        found = [str(row["table_schema"]) for row in await self._connection.fetch(_SCHEMAS)]
        if service and service not in found:
            known = ", ".join(found) or "none that this database role may read"
            raise Refusal(f"there is no service {service!r} with dead letters; known: {known}")
        return [service] if service else found


def _only(name: str, rows: list[Row]) -> Row:
    if not rows:
        raise Refusal(f"there is no dead letter {name!r}; `list` shows them")
    if len(rows) > 1:
        raise Refusal(f"{name!r} begins {len(rows)} ids; give more of it")
    return rows[0]


async def run(options: argparse.Namespace, settings: ServiceSettings) -> int:
    """Carries a command out; returns the exit status."""
    address = Address(settings.database_url.get_secret_value(), settings.database_password_file)
    connection = await address.connect(command_timeout=COMMAND_TIMEOUT)
    try:
        return await _carry_out(options, DeadLetters(connection), settings)
    finally:
        await connection.close()


async def _carry_out(
    options: argparse.Namespace, letters: DeadLetters, settings: ServiceSettings
) -> int:
    match options.command:
        case "list":
            rows = await letters.find(options.service, options.limit)
            for row in rows:
                _say(line(row))
            _say(
                f"{len(rows)} dead letters"
                + (" (the newest)" if len(rows) == options.limit else "")
            )
        case "show":
            for row in await letters.named(options.id):
                _say(whole(row))
        case "replay":
            await _replay(await _chosen(options, letters), letters, settings)
        case "drop":
            for row in await _chosen(options, letters):
                await letters.remove(row)
                _say(f"dropped {row.id}")
    return 0


async def _chosen(options: argparse.Namespace, letters: DeadLetters) -> list[Row]:
    if bool(options.id) == options.all:
        raise Refusal("name letters by their ids, or say --all")
    if options.all:
        # The oldest first: the order in which they had come.
        return list(reversed(await letters.find(options.service)))
    return await letters.named(options.id)


async def _replay(rows: list[Row], letters: DeadLetters, settings: ServiceSettings) -> None:
    messages = [(row, replayed(row)) for row in rows]
    bus = Bus(settings.amqp_url.get_secret_value(), "dead-letters", settings.shards)
    running = asyncio.create_task(bus.run())
    try:
        if not await bus.wait_connected(CONNECT_TIMEOUT):
            raise Refusal("the broker cannot be reached: EVERCALL_AMQP_URL")
        for row, message in messages:
            if not await bus.publish_all([message]):
                raise Refusal(f"the broker did not confirm {row.id}: it and those after it stay")
            await letters.remove(row)
            _say(f"replayed {row.id} to {message.routing_key}")
    finally:
        await bus.close()
        await running


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evercall.actor.dead",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    service = argparse.ArgumentParser(add_help=False)
    service.add_argument("--service", default="", help="only this one, for example call_manager")
    shown = commands.add_parser("list", parents=[service], help="the newest first")
    shown.add_argument("-n", "--limit", type=int, default=50, help="at most so many (50)")
    commands.add_parser("show", help="letters whole").add_argument("id", nargs="+")
    for name, text in (("replay", "publish again, then remove"), ("drop", "remove")):
        command = commands.add_parser(name, parents=[service], help=text)
        command.add_argument("id", nargs="*")
        command.add_argument("--all", action="store_true", help="all letters (of the service)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Exit status: 0 done, 1 refused, 2 the settings or the words are wrong."""
    options = _parser().parse_args(arguments)
    try:
        settings = ServiceSettings()
    except ValidationError as error:
        names = ", ".join("EVERCALL_" + str(fault["loc"][0]).upper() for fault in error.errors())
        sys.stderr.write(f"dead: set {names}\n")
        return 2
    try:
        return asyncio.run(run(options, settings))
    except (Refusal, PlatformError) as error:
        sys.stderr.write(f"dead: {error}\n")
    except (asyncpg.PostgresError, *STORE_ERRORS) as error:
        sys.stderr.write(f"dead: the database: {error or type(error).__name__}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
