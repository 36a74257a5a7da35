"""The watch: what it hears, whom it asks, and what it tells again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from evercall.contracts.asterisk import Heartbeat
from evercall.contracts.base import Message
from evercall.contracts.membership import Echo
from evercall.membership import detector, sip, watch
from evercall.membership.watch import Watch
from evercall.service.errors import Unavailable
from evercall.service.lifecycle import Tasks


@dataclass
class FakeBus:
    """Brings echoes back, unless the broker is away or swallows them."""

    away: bool = False
    swallows: bool = False
    handlers: dict[str, Callable[[Any], Awaitable[None]]] = field(default_factory=dict)

    async def subscribe_farm(self, keys: list[str], _: Any, handler: Any) -> None:
        self.handlers[keys[0]] = handler

    async def publish_farm(self, key: str, message: Message) -> None:
        if self.away:
            raise Unavailable("broker_unavailable", "away")
        if not self.swallows:
            await self.handlers[key](message)


@dataclass
class Tower:
    """A watch whose times are a tenth of the real ones, and what surrounds it."""

    bus: FakeBus
    watch: Watch
    tasks: Tasks
    told: list[tuple[str, str]] = field(default_factory=list)
    refuse: int = 0
    asked: int = 0
    answers: bool = False

    async def tell(self, asterisk_id: str, boot_id: str) -> None:
        if self.refuse:
            self.refuse -= 1
            raise Unavailable("broker_unavailable", "away")
        self.told.append((asterisk_id, boot_id))

    async def ask(self, *_: Any) -> bool:
        self.asked += 1
        return self.answers

    async def beat(self, *, connected: bool = True) -> None:
        await self.watch.hear(
            Heartbeat(
                asterisk_id="call-1",
                role="call",
                boot_id="boot",
                sip_address="192.0.2.1:5060",
                connected=connected,
                draining=False,
                channels=0,
                at=datetime.now(UTC),
            )
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture
async def tower(monkeypatch: pytest.MonkeyPatch) -> Any:
    for module, name in ((watch, "INTERVAL"), (detector, "SUSPICION"), (detector, "DEAFNESS")):
        monkeypatch.setattr(module, name, getattr(module, name) / 10)
    monkeypatch.setattr(watch, "TELL_INTERVAL", 0.1)
    bus, tasks = FakeBus(), Tasks(asyncio.Event())
    tower: Tower

    async def tell(asterisk_id: str, boot_id: str) -> None:
        await tower.tell(asterisk_id, boot_id)

    tower = Tower(bus, Watch(bus, tasks, "one", 0.5, tell), tasks)  # type: ignore[arg-type]
    monkeypatch.setattr(sip, "answers", tower.ask)
    await tower.watch.start()
    yield tower
    await tasks.cancel_all()
    assert not tasks.failed


async def test_who_is_silent_and_does_not_answer_is_lost_and_told_again(tower: Tower) -> None:
    begun = time.monotonic()
    await tower.beat()
    await tower.until(lambda: len(tower.told) >= 3)
    assert time.monotonic() - begun >= 0.5 + 2 * 0.1
    assert set(tower.told) == {("call-1", "boot")}
    assert tower.asked > 0


async def test_who_answers_is_not_lost(tower: Tower) -> None:
    tower.answers = True
    await tower.beat()
    await tower.until(lambda: tower.asked >= 4)
    assert tower.told == []


async def test_while_the_broker_is_away_nobody_is_lost(tower: Tower) -> None:
    await tower.beat()
    tower.bus.away = True
    await asyncio.sleep(0.8)
    assert tower.told == []
    tower.bus.away, tower.bus.swallows = False, True
    await asyncio.sleep(0.8)
    assert tower.told == []
    tower.bus.swallows = False
    await tower.until(lambda: bool(tower.told))


async def test_a_verdict_that_could_not_be_told_is_told_soon(tower: Tower) -> None:
    tower.refuse = 2
    await tower.beat()
    await tower.until(lambda: bool(tower.told))


async def test_an_echo_that_took_long_is_none(tower: Tower) -> None:
    await tower.beat()
    tower.bus.swallows = True
    for _ in range(12):
        await tower.watch.hear_echo(Echo(sent=time.monotonic() - watch.LATE_ECHO))
        await asyncio.sleep(0.05)
    assert tower.told == []
