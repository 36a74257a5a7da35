"""What comes from Asterisk for many calls in one message: a fault of one must not be a fault of all."""

import json
from pathlib import Path

import msgspec

from call_manager.domain.messages import ChannelGone
from call_manager.subscriptions import receive
from evercall.actor.turn import LiveActors, Unreadable
from evercall.contracts.asterisk import AsteriskEvents, OwnedEvent
from evercall.contracts.ids import make_id

TRACE = Path(__file__).parents[2] / "data/ari/channel_destroyed_incoming.json"


def test_an_event_that_cannot_be_read_takes_no_other_with_it() -> None:
    good = json.loads(TRACE.read_text())
    bad = {**good, "timestamp": "yesterday"}
    calls = [make_id(number, bytes(10)) for number in range(3)]
    events = [
        OwnedEvent(actor=call, event=msgspec.Raw(json.dumps(event).encode()))
        for call, event in zip(calls, (good, bad, good), strict=True)
    ]
    message = AsteriskEvents(asterisk_id="call-1", boot_id="b", events=events)
    heard = list(receive(message, LiveActors({})))
    assert [delivery.actor for delivery in heard] == calls
    assert isinstance(heard[0].body, ChannelGone)
    assert isinstance(heard[1].body, Unreadable)
    assert isinstance(heard[2].body, ChannelGone)
