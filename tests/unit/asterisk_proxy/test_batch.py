"""Batches: cut where they must be, named by where they are."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterisk_proxy.domain import batch as batch_module
from asterisk_proxy.domain.batch import Heard, Outgoing, Source, cut, messages
from evercall.ari.events import ChannelInList
from evercall.contracts.asterisk import (
    AsteriskEvents,
    AsteriskSnapshot,
    CommandsRefused,
    OwnedEvent,
    RefusedCommand,
)
from evercall.contracts.ids import shard_of

SHARDS = 4
SOURCE = Source("call-1", "boot", 42, SHARDS)
SNAPSHOT: Sequence[ChannelInList] = ()


def actor(number: int) -> UUID:
    """An actor of shard `number % SHARDS`."""
    return UUID(int=(0x7 << 76) | (0b10 << 62) | number)


def event(end: int, owner: int) -> Heard:
    raw = msgspec.Raw(f'{{"n":{end}}}'.encode())
    return Heard(end, OwnedEvent(actor=actor(owner), event=raw))


def refusal(end: int, owner: int) -> Heard:
    return Heard(end, RefusedCommand(actor=actor(owner), key=str(end), status=404, reason="gone"))


heard_lists = st.lists(
    st.tuples(st.sampled_from("ers"), st.integers(0, 2 * SHARDS)), min_size=1, max_size=30
).map(
    lambda kinds: [
        {
            "e": event(10 * (n + 1), owner),
            "r": refusal(10 * (n + 1), owner),
            "s": Heard(10 * (n + 1), SNAPSHOT),
        }[kind]
        for n, (kind, owner) in enumerate(kinds)
    ]
)


def send_all(waiting: list[Heard], begun: int, start: int) -> list[Outgoing]:
    """All batches until nothing waits, as the publisher makes them."""
    sent: list[Outgoing] = []
    while waiting:
        count = cut(waiting, begun)
        assert count > 0
        end = waiting[count - 1].end
        sent += messages(waiting[:count], SOURCE, start, end)
        waiting, begun, start = waiting[count:], 0, end
    return sent


@given(heard_lists, st.data())
def test_who_goes_on_after_a_kill_sends_the_same_messages(
    heard: list[Heard], data: st.DataObject
) -> None:
    """The former proxy had heard a part, and died while its batch was on its way."""
    known = data.draw(st.integers(1, len(heard)))
    first = heard[: cut(heard[:known], 0)]
    before = list(messages(first, SOURCE, 0, first[-1].end))
    after = send_all(heard, first[-1].end, 0)
    assert after[: len(before)] == before
    rest = send_all(heard[len(first) :], 0, first[-1].end)
    assert after[len(before) :] == rest


@given(heard_lists)
def test_everything_reaches_its_shard_once_and_in_order(heard: list[Heard]) -> None:
    sent = send_all(heard, 0, 0)
    assert len({one.id for one in sent}) == len(sent)
    events: list[OwnedEvent] = []
    refused: list[RefusedCommand] = []
    for one in sent:
        match one.message:
            case AsteriskEvents(events=some):
                assert {shard_of(owned.actor, SHARDS) for owned in some} == {one.shard}
                events += some
            case CommandsRefused(refused=those):
                assert {shard_of(refusal.actor, SHARDS) for refusal in those} == {one.shard}
                refused += those
    for number in range(2 * SHARDS + 1):
        own = actor(number)
        assert [e for e in events if e.actor == own] == [
            h.content for h in heard if isinstance(h.content, OwnedEvent) and h.content.actor == own
        ]
        assert [r for r in refused if r.actor == own] == [
            h.content
            for h in heard
            if isinstance(h.content, RefusedCommand) and h.content.actor == own
        ]


def test_a_snapshot_comes_after_the_events_before_it_and_ends_the_batch() -> None:
    heard = [event(10, 0), Heard(20, SNAPSHOT), event(30, 0)]
    assert cut(heard, 0) == 2
    sent = list(messages(heard[:2], SOURCE, 0, 20))
    kinds = [(one.shard, type(one.message)) for one in sent]
    assert kinds == [(0, AsteriskEvents), *((shard, AsteriskSnapshot) for shard in range(SHARDS))]


def test_a_snapshot_is_sorted_by_owner_and_leaves_strangers_out() -> None:
    channels = [
        ChannelInList(id=f"{actor(1)}.0", state="Up"),
        ChannelInList(id="other", state="Ring", channelvars={"CALL_ID": str(actor(2))}),
        ChannelInList(id="nobody's", state="Up"),
        ChannelInList(id=f"{actor(5)}.0", state="Down"),
    ]
    sent = {one.shard: one.message for one in messages([Heard(10, channels)], SOURCE, 0, 10)}
    found = {
        shard: [(live.actor, live.channel_id, live.state) for live in message.channels]
        for shard, message in sent.items()
        if isinstance(message, AsteriskSnapshot)
    }
    assert found == {
        0: [],
        1: [(actor(1), f"{actor(1)}.0", "Up"), (actor(5), f"{actor(5)}.0", "Down")],
        2: [(actor(2), "other", "Ring")],
        3: [],
    }


def test_a_batch_is_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "MOST_FRAMES", 3)
    assert cut([event(10 * n, 0) for n in range(1, 9)], 0) == 3


def test_a_begun_batch_in_which_nothing_was_for_the_bus_is_forgotten() -> None:
    assert cut([event(100, 0), event(110, 0)], 90) == 2


def test_an_event_travels_as_asterisk_wrote_it() -> None:
    (sent,) = messages([event(10, 0)], SOURCE, 0, 10)
    assert b'"event":{"n":10}' in msgspec.json.encode(sent.message)
