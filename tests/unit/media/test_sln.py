"""Raw linear audio."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.errors import FormatError
from evercall.media.framing import Audio
from evercall.media.sln import SlnFraming
from tests.unit.media.samples import DATA, QUICK


@QUICK
@given(st.lists(st.binary(max_size=20), max_size=10))
def test_messages_together_are_the_audio_in_whole_samples(pieces: list[bytes]) -> None:
    framing = SlnFraming(8000)
    heard = b""
    for piece in pieces:
        for item in framing.receive(piece):
            assert isinstance(item, Audio)
            assert item.data
            assert len(item.data) % 2 == 0
            heard += item.data
    sent = b"".join(pieces)
    assert heard == sent[: len(sent) & ~1]


def test_a_frame_of_asterisks_is_heard_as_it_is() -> None:
    data = (DATA / "sln" / "asterisk_tone.sln").read_bytes()[:320]
    assert SlnFraming(8000).receive(data) == [Audio(data)]


def test_a_frame_is_sent_as_it_is_and_nothing_else_is_told() -> None:
    framing = SlnFraming(16_000)
    framing.pause(1)
    assert framing.format.frame_bytes == 640
    assert framing.audio(b"\1\2") == b"\1\2"
    assert framing.opening(UUID(int=1)) == framing.hang_up() == b""
    assert framing.digit("5") == []
    assert framing.release() == []


def test_keys_and_rates_that_do_not_exist_are_refused() -> None:
    with pytest.raises(FormatError):
        SlnFraming(8000).digit("E")
    with pytest.raises(FormatError):
        SlnFraming(0)
