"""How streams begin, come back, move away and end in one process."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from evercall.contracts.media import MediaDirection, MediaStatus, StreamHandedOver
from evercall.service.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PlatformError,
    Unauthorized,
    Unavailable,
)
from media_manager.caretaker import CHECK_ACCESS, SILENCE
from media_manager.domain.closing import StreamEnd
from tests.unit.media_manager.house import (
    ALWAYS,
    CREDENTIALS,
    CUSTOMER,
    House,
    asked_for,
    media,
)


async def test_a_stream_begins_when_its_leg_is_up(house: House) -> None:
    session, link = await house.open()
    assert list(house.registry.sessions) == [session.options.id]
    assert len(house.inner) == 1
    assert [told["type"] for told in link.told] == ["start"]


async def test_a_refused_leg_leaves_nothing(house: House) -> None:
    house.legs.error = Conflict("call_not_progressing", "-")
    with pytest.raises(Conflict):
        await house.open()
    await house.settle()
    assert house.registry.sessions == {}
    assert len(house.inner) == 0


async def test_who_gives_up_waiting_has_the_leg_removed(house: House) -> None:
    opening = asyncio.create_task(house.open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await house.settle()
    assert [reason for _, reason in house.legs.stopped] == ["application_closed"]
    assert house.registry.sessions == {}


async def test_who_closes_in_order_ends_the_stream(house: House) -> None:
    session, link = await house.open()
    session.link_lost(link, 1000, 1.0)
    await house.settle()
    assert house.legs.stopped == [(session.options.id, "application_closed")]
    assert house.registry.sessions == {}
    assert len(house.inner) == 0


async def test_who_is_cut_off_may_come_back_for_ten_seconds(house: House) -> None:
    session, link = await house.open()
    session.link_lost(link, None, house.clock[0])
    house.look(session, 9.0)
    again, back = await house.open(resume=session.options.id)
    assert again is session
    assert back.told[0]["resumed"] is True
    house.look(session, 9.0)
    session.link_lost(back, 1006, house.clock[0])
    house.look(session, 11.0)
    await house.settle()
    assert house.legs.stopped == [(session.options.id, "application_lost")]


async def test_the_later_connection_has_the_stream(house: House) -> None:
    session, first = await house.open()
    _, second = await house.open(resume=session.options.id)
    assert first.end is StreamEnd.TAKEN_OVER
    assert first.told[-1]["reason"] == "taken_over"
    session.link_lost(first, 4004, 1.0)
    assert session.link is second


async def test_another_customers_stream_is_not_there(house: House) -> None:
    session, _ = await house.open()
    request = asked_for(resume=session.options.id)
    with pytest.raises(NotFound):
        await house.registry.open(request, UUID(int=99), CREDENTIALS, None)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize(
    ("field", "was", "asked"),
    [
        ("encapsulation", "sln", {"encapsulation": "audiosocket"}),
        ("rate", "8000", {"rate": 16_000}),
        ("direction", "both", {"speak": MediaDirection.NONE}),
    ],
)
async def test_a_stream_is_resumed_as_it_was_opened(
    house: House, field: str, was: str, asked: dict[str, Any], elsewhere: bool
) -> None:
    """Who asks for something else is told what it was, and has lost nothing by it."""
    identifier = UUID(int=50)
    if elsewhere:
        house.legs.made[identifier] = media(identifier, MediaStatus.RUNNING)
        house.legs.previous = "m2"
        house.legs.handed = StreamHandedOver(kept=[b"\xff" * 160] * 3)
    else:
        session, link = await house.open()
        identifier = session.options.id
        session.link_lost(link, 1006, house.clock[0])
    request = replace(asked_for(resume=identifier), **asked)
    with pytest.raises(InvalidRequest) as refused:
        await house.registry.open(request, CUSTOMER, CREDENTIALS, None)
    assert refused.value.details == {"field": field, "allowed": [was]}

    _, back = await house.open(resume=identifier)
    assert back.told[0]["resumed"] is True
    assert (back.told[0]["encapsulation"], back.told[0]["rate"]) == ("sln", 8000)
    assert back.told[0]["missed_ms"] == (60 if elsewhere else 0)
    await house.settle()
    assert house.legs.stopped == []


async def test_a_stream_of_another_process_brings_what_was_kept(house: House) -> None:
    house.legs.previous = "m2"
    house.legs.handed = StreamHandedOver(kept=[b"\xff" * 160] * 3, sequence=7)
    session, link = await house.open(resume=UUID(int=50))
    assert house.legs.started == [(UUID(int=50), True)]
    assert (link.told[0]["sequence"], link.told[0]["missed_ms"]) == (7, 60)
    assert [len(message) for message in link.messages] == [320] * 3
    assert session.options.id == UUID(int=50)


@pytest.mark.parametrize("handed", [None, Unavailable("service_unavailable", "-")])
async def test_of_a_dead_process_nobody_knows_what_is_lost(
    house: House, handed: PlatformError | None
) -> None:
    house.legs.previous, house.legs.handed = "m2", handed
    _, link = await house.open(resume=UUID(int=50))
    assert link.told[0]["lost_ms"] is None


async def test_a_stream_is_given_away_once(house: House) -> None:
    session, link = await house.open()
    session.received(bytes(3200), 0.0)
    handed = house.registry.hand_over(session.options.id)
    assert len(handed.queued) == 1600
    assert link.end is StreamEnd.TAKEN_OVER
    assert house.legs.stopped == []
    with pytest.raises(NotFound):
        house.registry.hand_over(session.options.id)


async def test_the_end_of_the_leg_ends_the_stream(house: House) -> None:
    session, link = await house.open()
    house.registry.stopped(media(session.options.id, MediaStatus.STOPPED, "call_ended"))
    house.registry.stopped(media(UUID(int=77), MediaStatus.STOPPED, "call_ended"))
    await house.settle()
    assert link.end is StreamEnd.CALL_ENDED
    assert house.legs.stopped == []


async def test_a_credential_ends_its_stream(house: House) -> None:
    session, link = await house.open()
    session.expires_at = ALWAYS + timedelta(seconds=1)
    house.look(session, 1.0)
    assert link.end is None
    session.expires_at = ALWAYS
    house.look(session, 1.0)
    assert link.end is StreamEnd.TOKEN_EXPIRED


async def test_a_revoked_key_is_noticed_and_a_silent_api_is_not_one(house: House) -> None:
    session, link = await house.open()
    session.moved = house.clock[0] + CHECK_ACCESS
    house.access.answer = Unavailable("store_unavailable", "-")
    house.look(session, CHECK_ACCESS)
    await house.settle()
    assert link.end is None
    house.access.answer = Unauthorized("invalid_credentials", "-")
    session.moved = house.clock[0] + CHECK_ACCESS
    house.look(session, CHECK_ACCESS)
    await house.settle()
    assert link.end is StreamEnd.ACCESS_REVOKED


async def test_a_silent_leg_is_asked_after(house: House) -> None:
    session, link = await house.open()
    house.look(session, SILENCE)
    await house.settle()
    assert house.legs.started[-1] == (session.options.id, True)
    assert link.end is None
    house.legs.error = NotFound("media_stream_not_found", "-")
    house.look(session, SILENCE)
    await house.settle()
    assert link.end is StreamEnd.RESOURCE_LOST


async def test_after_a_gap_every_stream_is_asked_after(house: House) -> None:
    session, _ = await house.open()
    await house.caretaker.word_missed()
    house.look(session, 0.1)
    await house.settle()
    assert house.legs.started[-1] == (session.options.id, True)


async def test_who_leaves_sends_applications_elsewhere(house: House) -> None:
    session, link = await house.open()
    house.registry.send_away()
    assert (link.end, link.told[-1]["reason"]) == (StreamEnd.DRAINING, "draining")
    with pytest.raises(Unavailable):
        await house.open()
    waiting = asyncio.create_task(house.registry.emptied())
    await house.settle()
    assert not waiting.done()
    house.registry.hand_over(session.options.id)
    await asyncio.wait_for(waiting, 1.0)


async def test_keys_go_to_their_stream(house: House) -> None:
    session, link = await house.open()
    house.registry.digit(session.options.id, "5", 100)
    house.registry.digit(UUID(int=77), "6", 100)
    assert [told["digit"] for told in link.told if told["type"] == "dtmf"] == ["5"]
