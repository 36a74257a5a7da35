"""PostgreSQL fails by half, with calls up that are in the middle of something.

In each trouble: no call drops, what was typed and who hung up is accounted for, nothing is given up as a dead
letter, memory is bounded, `/ready` tells, whoever asks the API gets an answer in time, and everything goes on
by itself.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import httpx
import pytest

from deploy.lab.lab import Lab
from deploy.lab.network import POSTGRESQL_PORT
from deploy.lab.plan import DATABASE
from tests.e2e.test_survival import account, events_of_all, everything_works_again
from tests.e2e.theatre import CAST, Stage, Theatre, play_through
from tests.support.events import call_events
from tests.support.phone_sipp import Callee, Caller
from tests.support.rest import Customer
from tests.support.web import ToneServer

pytestmark = pytest.mark.timeout(180)

LASTS = 10.0
ANSWER_WITHIN = 15.0
MOST_MORE_MEMORY = 64 << 20


async def superuser(lab: Lab) -> "asyncpg.Connection[asyncpg.Record]":
    made: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        host=lab.farm.network.postgresql,
        port=POSTGRESQL_PORT,
        user="postgres",
        password=lab.credentials.postgresql_superuser_password,
        database=DATABASE,
    )
    return made


@asynccontextmanager
async def stopped(lab: Lab) -> AsyncIterator[None]:
    """SIGSTOP of the server and all its children: connections live, nobody answers."""
    pids = lab.pids("postgresql")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def locked(lab: Lab) -> AsyncIterator[None]:
    """Somebody, a person with psql say, locks what every batch of call_manager writes."""
    connection = await superuser(lab)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE call_manager.actor_shard IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def shut_out(lab: Lab) -> AsyncIterator[None]:
    """The password of everybody was changed, and nobody is told: all connections are ended."""
    connection = await superuser(lab)
    roles = [
        (row["rolname"], row["rolpassword"])
        for row in await connection.fetch(
            "SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin AND rolname <> 'postgres'"
        )
    ]
    try:
        for name, _ in roles:
            await connection.execute(f"ALTER ROLE {name} PASSWORD 'not-told-to-anybody'")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename <> 'postgres' AND backend_type = 'client backend'"
        )
        yield
    finally:
        for name, password in roles:
            await connection.execute(f"ALTER ROLE {name} PASSWORD '{password}'")
        await connection.close()


@asynccontextmanager
async def read_only(lab: Lab) -> AsyncIterator[None]:
    """As after a fail-over whose old primary was fenced off: it answers, and takes no writes."""
    connection = await superuser(lab)
    await connection.execute("SET default_transaction_read_only = off")
    try:
        await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await connection.execute("SELECT pg_reload_conf()")
        yield
    finally:
        await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()


TROUBLES: dict[str, tuple[Callable[[Lab], AbstractAsyncContextManager[None]], bool]] = {
    "stopped": (stopped, True),
    "read_only": (read_only, True),
    "shut_out": (shut_out, True),
    "locked": (locked, False),  # the database is there: it is one table that waits
}


@dataclass
class Watch:
    """What can be seen from outside meanwhile."""

    lab: Lab
    customer: Customer
    unready: set[str] = field(default_factory=set)
    answers: list[tuple[int, float, str]] = field(default_factory=list)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        before, dead = self._memory(), await dead_letters(self.lab)
        tasks = [asyncio.create_task(self._ask_ready()), asyncio.create_task(self._ask_api())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
        assert await dead_letters(self.lab) == dead
        grown = {name: size - before[name] for name, size in self._memory().items()}
        assert max(grown.values()) < MOST_MORE_MEMORY, grown

    def _memory(self) -> dict[str, int]:
        """Resident bytes of the services (proc(5))."""
        return {
            name: sum(_resident(pid) for pid in self.lab.pids(name)[:1])
            for module in ("call_manager", "flow_manager", "api_manager")
            for name in (process.name for process in self.lab.farm.of_module(module))
        }

    async def _ask_ready(self) -> None:
        services = [
            process
            for module in ("call_manager", "flow_manager", "route_manager", "api_manager")
            for process in self.lab.farm.of_module(module)
        ]
        async with httpx.AsyncClient(timeout=5.0) as client:
            while True:
                for process in services:
                    answer = await client.get(f"{process.health_url}/ready")
                    if answer.status_code == 503 and not answer.json()["checks"]["database"]:
                        self.unready.add(process.module)
                await asyncio.sleep(0.25)

    async def _ask_api(self) -> None:
        """Reads and writes, as somebody who does not give up early."""
        headers = {"Authorization": f"Bearer {self.customer.api.accesskey}"}
        address = self.lab.farm.api_url
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30.0) as client:
            while True:
                for method, path in (("GET", "/v1.0/calls"), ("POST", "/v1.0/flows")):
                    began = time.monotonic()
                    body = (
                        {"name": "asked", "actions": [{"type": "answer"}]}
                        if method == "POST"
                        else None
                    )
                    answer = await client.request(method, path, json=body)
                    took = time.monotonic() - began
                    self.answers.append((answer.status_code, took, answer.text[:300]))
                await asyncio.sleep(0.2)


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def dead_letters(lab: Lab) -> float:
    """As all services count them, since their start."""
    total = 0.0
    async with httpx.AsyncClient(timeout=5.0) as client:
        for module in ("call_manager", "flow_manager"):
            for process in lab.farm.of_module(module):
                text = (await client.get(f"{process.health_url}/metrics")).text
                total += sum(
                    float(line.rpartition(" ")[2])
                    for line in text.splitlines()
                    if line.startswith("evercall_actor_dead_letters_total")
                )
    return total


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_calls_outlive_a_database_that_fails_by_half(
    trouble: str,
    platform: Lab,
    caller: Caller,
    callee: Callee,
    customer: Customer,
    web: ToneServer,
) -> None:
    """See the module's docstring."""
    make, is_away = TROUBLES[trouble]
    theatre = Theatre(Stage(sum(count for _, count in CAST)), caller, callee, customer, web)
    watch = Watch(platform, customer)

    async with call_events(platform, customer.id) as heard, watch.looking():
        await play_through(theatre, make(platform), LASTS)
        calls = await customer.all_ended(within=30.0)
        await events_of_all(calls, heard.by_call)

    await account(theatre, calls)
    await everything_works_again(theatre)
    if is_away:
        assert watch.unready >= {"call_manager", "flow_manager", "route_manager", "api_manager"}
    check_answers(watch, some_refused=is_away)
    await asyncio.to_thread(
        platform.wait_ready, [process.name for process in platform.farm.processes], 20.0
    )


def check_answers(watch: Watch, *, some_refused: bool) -> None:
    """Every answer is the one that was asked for, or a problem that says to try again, and came in time."""
    wrong = [answer for answer in watch.answers if answer[0] not in (200, 201, 503)]
    assert not wrong, wrong[:3]
    slow = [answer for answer in watch.answers if answer[1] > ANSWER_WITHIN]
    assert not slow, slow[:3]
    refused = [text for status, _, text in watch.answers if status == 503]
    assert bool(refused) or not some_refused
    assert all('"status":"UNAVAILABLE"' in text for text in refused), refused[:3]
    assert watch.answers[-1][0] in (200, 201), watch.answers[-1]
