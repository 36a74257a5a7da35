"""Events as Asterisk 22.10 wrote them (tests/data/ari), and whose they are."""

from contextlib import suppress
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.ari.events import (
    RESPONSE,
    WANTED,
    Incoming,
    channel_owner,
    decode,
    decode_channels,
    filter_body,
    owner,
)

DATA = Path(__file__).parents[2] / "data" / "ari"
RECORDED = sorted(DATA.glob("*.json"))
INCOMING = UUID("01a1fb5b-b54f-7708-8622-dfe8e4e2e8f7")
OUTGOING = UUID("01a1fb5b-b7be-7613-b539-33d24b5d7286")


def recorded(name: str) -> Incoming:
    return decode((DATA / f"{name}.json").read_bytes())


@pytest.mark.parametrize(
    ("name", "type_name", "actor"),
    [
        ("stasis_start_incoming", "StasisStart", INCOMING),
        ("channel_state_change_up", "ChannelStateChange", INCOMING),
        ("channel_dtmf_received", "ChannelDtmfReceived", INCOMING),
        ("playback_finished", "PlaybackFinished", INCOMING),
        ("channel_destroyed_incoming", "ChannelDestroyed", INCOMING),
        ("stasis_start_outgoing", "StasisStart", OUTGOING),
        ("channel_state_change_ringing", "ChannelStateChange", OUTGOING),
        ("channel_destroyed_outgoing", "ChannelDestroyed", OUTGOING),
        ("channel_entered_bridge", "ChannelEnteredBridge", INCOMING),
        ("bridge_created", "BridgeCreated", INCOMING),
        ("dial", "Dial", OUTGOING),
        ("application_registered", "ApplicationRegistered", None),
    ],
)
def test_the_owner_of_recorded_events(name: str, type_name: str, actor: UUID | None) -> None:
    event = recorded(name)
    assert (event.type, owner(event)) == (type_name, actor)


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_every_recorded_message_is_read(file: Path) -> None:
    message = decode(file.read_bytes())
    assert message.type
    assert (message.type == RESPONSE) == file.stem.startswith("rest_response_")


def test_every_wanted_event_was_recorded() -> None:
    assert set(WANTED) <= {decode(file.read_bytes()).type for file in RECORDED}


def test_a_list_of_channels() -> None:
    channels = decode_channels(recorded("rest_response_channels").message_body)
    assert [(channel.state, channel_owner(channel.id, channel.channelvars)) for channel in channels]
    assert channels[0].state == "Up"
    assert channel_owner(channels[0].id, channels[0].channelvars) == INCOMING


def test_the_variable_goes_before_the_id() -> None:
    other = "01a1fb5b-ffff-7708-8622-dfe8e4e2e8f7"
    assert channel_owner(f"{other}.0", {"CALL_ID": str(INCOMING)}) == INCOMING
    assert channel_owner(f"{INCOMING}.0", {"CALL_ID": ""}) == INCOMING
    assert channel_owner(f"{INCOMING}.0", {}) == INCOMING
    assert channel_owner("call-1-1795218453.0", {}) is None


def test_recordings_belong_to_whom_their_name_says() -> None:
    name = f"{INCOMING}.r1"
    event = {"type": "RecordingFinished", "recording": {"name": name, "format": "wav"}}
    assert owner(decode(msgspec.json.encode(event))) == INCOMING


def test_the_filter_lets_answers_through() -> None:
    allowed = [one["type"] for one in filter_body()["allowed"]]
    assert allowed == [RESPONSE, *WANTED]


@given(st.uuids(), st.text(max_size=10))
def test_ids_of_ours_name_their_owner(actor: UUID, suffix: str) -> None:
    assert channel_owner(f"{actor}.{suffix}", {}) == actor


@given(st.text(max_size=60))
def test_other_ids_name_nobody_or_a_uuid(text: str) -> None:
    found = channel_owner(text, {})
    assert found is None or str(found) == text[:36].lower()


@given(st.binary(max_size=200))
def test_garbage_raises_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(b"\xff" + data)
    with suppress(ValueError):
        decode(data)


def test_text_that_is_not_utf_8_is_garbage_too() -> None:
    with pytest.raises(ValueError):
        decode(b'{"type":"\xff"}')
