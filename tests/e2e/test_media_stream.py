"""The audio of a call in an application's hands, through the real switches.

"An application opens a WebSocket and has the call's audio, both ways, in the framing that it prefers."
"""

import asyncio
import contextlib
import itertools
import os
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from deploy.lab.lab import Lab
from tests.e2e.streams import Leaving, Streamed, both_hear, idle_call, settle, whole_pieces
from tests.support.media_client import rtp_numbers
from tests.support.phone_audio import RATE, Samples, Tone, decode_ulaw, level, sine
from tests.support.phone_sipp import Caller
from tests.support.rest import Customer, action
from tests.support.web import ToneServer

FRAMINGS = [
    ("rtp", 8000),
    ("sln", 8000),
    ("sln", 16_000),
    ("audiosocket", 8000),
    ("audiosocket", 16_000),
]
FROM_CALLER, FROM_APPLICATION = 1000, 700


def frequencies(heard: list[Tone]) -> list[int]:
    """Of tones, in tens of hertz as they were made: a short one can't be measured better."""
    return [round(tone.frequency / 10) * 10 for tone in heard]


def at_rate(frequency: float, seconds: float, rate: int) -> Samples:
    """A tone at another rate than the telephone's."""
    return sine(frequency * RATE / rate, seconds * rate / RATE)


@pytest.mark.parametrize(("encapsulation", "rate"), FRAMINGS)
async def test_tones_arrive_both_ways(streamed: Streamed, encapsulation: str, rate: int) -> None:
    """ "a tone of the caller arrives in the WebSocket at the right frequency and level in each encapsulation; a
    tone sent by the application is heard by the caller"."""
    application = await streamed.open(encapsulation=encapsulation, rate=str(rate))
    start = await application.tell("start")
    assert start["rate"] == rate
    assert start["frame_bytes"] == (160 if encapsulation == "rtp" else rate // 50 * 2)

    streamed.sip.media.say(sine(FROM_CALLER, 1.5))
    await application.say(at_rate(FROM_APPLICATION, 1.5, rate))
    await settle()

    [heard] = application.tones()
    assert heard.frequency == pytest.approx(FROM_CALLER, abs=3)
    assert heard.duration > 1.4
    steady = application.audio()[rate // 2 : rate]
    assert level(steady) == pytest.approx(level(sine(FROM_CALLER, 1.0)), abs=1.0)
    [told] = streamed.sip.media.recording.tones()
    assert told.frequency == pytest.approx(FROM_APPLICATION, abs=3)
    assert told.duration == pytest.approx(1.5, abs=0.1)
    await application.close()


async def test_numbers_of_rtp_count_packets_and_samples(streamed: Streamed) -> None:
    """172 bytes, sequence by one, timestamps by samples, one SSRC."""
    application = await streamed.open()
    await application.until(lambda: len(application.messages) >= 50)
    numbers = rtp_numbers(application.messages)
    for (sequence, timestamp, ssrc), (
        next_sequence,
        next_timestamp,
        next_ssrc,
    ) in itertools.pairwise(numbers):
        assert (next_sequence - sequence) & 0xFFFF == 1
        assert (next_timestamp - timestamp) & 0xFFFFFFFF == 160
        assert next_ssrc == ssrc


async def test_ulaw_comes_through_unchanged(streamed: Streamed) -> None:
    """ "ulaw comes through bit-exact": every code, both ways. Asterisk mixes in linear, where µ-law's two zeros
    are one: 0x7f comes out as 0xff."""
    codes = bytes(code for code in range(256) if code != 0x7F)
    samples = _linear(codes * 20)
    application = await streamed.open()
    await both_hear(streamed, application)

    streamed.sip.media.say(samples)
    await application.say(samples)
    await settle(0.5)

    sent = codes * 3
    assert sent in b"".join(application.payloads())
    heard = b"".join(packet.payload for packet in streamed.sip.media.recording.packets)
    assert sent in heard


async def test_no_click_and_no_gap(streamed: Streamed, capsys: pytest.CaptureFixture[str]) -> None:
    """Continuity by phase, both ways: a sample that is lost, doubled or inserted turns it, at these frequencies.

    EVERCALL_LONG_STREAM_SECONDS=300 makes it five minutes.

    Asterisk's snoop begins with nothing in hand. Where the far end sends a packet later than ever before (this
    phone is a program on a busy machine), it puts in a frame of silence and has one more in hand from then on.
    Such places are counted and printed. Between them all must be whole, and nothing of the tone may be missing.
    """
    application = await streamed.open(encapsulation="sln")
    seconds = float(os.environ.get("EVERCALL_LONG_STREAM_SECONDS", "20"))
    begun = time.monotonic()
    streamed.sip.media.say(sine(1013, seconds))
    # A little ahead of time, so that only Evercall's ticker makes the time.
    await application.say(sine(707, seconds), pace=0.9)
    await settle(max(0.0, begun + seconds + 0.3 - time.monotonic()))

    pieces = whole_pieces(application.audio(), 1013)
    told = whole_pieces(streamed.sip.media.recording.samples(), 707)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n  continuity of {seconds:.0f} s: silence put in at {len(pieces) - 1} places towards the"
            f" application, at {len(told) - 1} towards the caller"
        )
    for whole in (pieces, told):
        assert len(whole) <= 6
        assert sum(whole) > seconds - 0.05 * len(whole)


async def test_latency_is_printed(streamed: Streamed, capsys: pytest.CaptureFixture[str]) -> None:
    """One way each, by the beginning of a tone."""
    application = await streamed.open(encapsulation="sln")
    await both_hear(streamed, application)

    recording = streamed.sip.media
    said = time.monotonic()
    recording.say(sine(FROM_CALLER, 0.5))
    await settle(0.8)
    loud = next(
        at
        for at, message in application.messages
        if np.abs(np.frombuffer(message, "<i2").astype(int)).max() > 3000 and at > said
    )
    to_application = loud - said

    begun, at_begin = recording.now, len(recording.recording.packets)
    await application.say(sine(FROM_APPLICATION, 0.5))
    await settle(0.5)
    packet = next(
        each
        for each in recording.recording.packets[at_begin:]
        if np.abs(_linear(each.payload).astype(int)).max() > 3000
    )
    to_caller = packet.at - begun
    with capsys.disabled():
        print(  # noqa: T201
            f"\n  latency: caller to application {to_application * 1000:.0f} ms,"
            f" application to caller {to_caller * 1000:.0f} ms"
        )
    assert to_application < 0.25
    assert to_caller < 0.25


def _linear(codes: bytes) -> Samples:

    return decode_ulaw(codes)


async def test_who_only_listens_is_not_heard(streamed: Streamed) -> None:
    """`direction=in`."""
    application = await streamed.open(direction="in")
    streamed.sip.media.say(sine(FROM_CALLER, 1.0))
    await application.say(sine(FROM_APPLICATION, 1.0))
    await settle()
    assert frequencies(application.tones()) == [FROM_CALLER]
    assert streamed.sip.media.recording.tones() == []
    assert (await application.tell("error"))["code"] == "direction"


async def test_who_only_speaks_hears_nothing(streamed: Streamed) -> None:
    """`direction=out`."""
    application = await streamed.open(direction="out")
    streamed.sip.media.say(sine(FROM_CALLER, 1.0))
    await application.say(sine(FROM_APPLICATION, 1.0))
    await settle()
    assert application.messages == []
    assert frequencies(streamed.sip.media.recording.tones()) == [FROM_APPLICATION]


async def test_several_streams_of_a_call_hear_and_speak_at_once(streamed: Streamed) -> None:
    """Up to the limit; one application does not hear itself, nor does it disturb another."""
    opened = [await streamed.open() for _ in range(5)]
    refusal = await streamed.refusal()
    assert (refusal.status, refusal.body["error"]["reason"]) == (409, "MEDIA_STREAM_LIMIT_REACHED")
    assert refusal.body["error"]["details"] == [{"limit": 5}]

    streamed.sip.media.say(sine(FROM_CALLER, 1.0))
    await opened[0].say(sine(FROM_APPLICATION, 1.0))
    await settle()
    for application in opened:
        assert frequencies(application.tones()) == [FROM_CALLER]
    assert frequencies(streamed.sip.media.recording.tones()) == [FROM_APPLICATION]
    for application in opened:
        await application.close()
    await streamed.switches.until_no_streams()
    await (await streamed.open()).close()


async def test_a_whole_prompt_at_once_is_played_in_time(streamed: Streamed) -> None:
    """Faster than real time, with marks that tell when they were really reached."""
    application = await streamed.open(encapsulation="sln")
    tone = sine(FROM_APPLICATION, 1.5).astype("<i2").tobytes()
    begun = time.monotonic()
    await application.socket.send(tone)
    await application.tell_platform(type="mark", name="half")
    await application.socket.send(tone)
    await application.tell_platform(type="mark", name="end")
    half = await application.tell("marked")
    assert (half["name"], half["played_ms"]) == ("half", 1500)
    assert time.monotonic() - begun == pytest.approx(1.5, abs=0.25)
    end = await application.tell("marked", number=2)
    assert (end["name"], end["played_ms"]) == ("end", 3000)
    await settle()
    [told] = streamed.sip.media.recording.tones()
    assert told.duration == pytest.approx(3.0, abs=0.06)


async def test_who_interrupts_is_not_talked_over(streamed: Streamed) -> None:
    """`clear`: what is queued is dropped, and told how much was played."""
    application = await streamed.open(encapsulation="sln")
    await application.socket.send(sine(FROM_APPLICATION, 8.0).astype("<i2").tobytes())
    await application.tell_platform(type="mark", name="never")
    await asyncio.sleep(1.0)
    await application.tell_platform(type="clear")
    cleared = await application.tell("cleared")
    assert cleared["marks"] == ["never"]
    assert cleared["played_ms"] == pytest.approx(1000, abs=200)
    assert cleared["played_ms"] + cleared["dropped_ms"] == 8000
    await settle(0.5)
    [told] = streamed.sip.media.recording.tones()
    assert told.duration == pytest.approx(cleared["played_ms"] / 1000, abs=0.1)


async def test_a_full_queue_says_so(streamed: Streamed) -> None:
    """Back-pressure at three quarters of 60 s, then what does not fit is dropped and told."""
    application = await streamed.open()
    minute = bytes(160 * 50 * 70)
    for begin in range(0, len(minute), 16_000):
        await application.socket.send(application.packet(minute[begin : begin + 16_000]))
    paused = await application.tell("pause")
    assert 45_000 <= paused["queued_ms"] <= 47_000
    overflow = await application.tell("overflow")
    assert overflow["dropped_ms"] > 0
    await application.tell_platform(type="clear")
    assert (await application.tell("resume"))["queued_ms"] == 0


@pytest.mark.parametrize("size", [1, 7, 161, 1000])
async def test_odd_sizes_are_played_as_one(streamed: Streamed, size: int) -> None:
    """Audio is cut anywhere, even within a sample."""
    application = await streamed.open(encapsulation="sln")
    data = sine(FROM_APPLICATION, 0.6).astype("<i2").tobytes()
    for begin in range(0, len(data), size):
        await application.socket.send(data[begin : begin + size])
    await settle(1.0)
    [told] = streamed.sip.media.recording.tones()
    assert told.duration == pytest.approx(0.6, abs=0.06)
    assert told.frequency == pytest.approx(FROM_APPLICATION, abs=3)


async def test_packets_out_of_order_are_put_in_order(streamed: Streamed) -> None:
    """Pairs changed places."""
    application = await streamed.open()
    packets = application.wrap(sine(FROM_APPLICATION, 2.0))
    await application.socket.send(packets[0])
    for first, second in _pairs(packets[1:-1]):
        await application.socket.send(second)
        await application.socket.send(first)
    await settle(2.5)
    [told] = streamed.sip.media.recording.tones()
    assert told.duration == pytest.approx(2.0, abs=0.1)
    [piece] = whole_pieces(streamed.sip.media.recording.samples(), FROM_APPLICATION)
    assert piece > 1.8


def _pairs(packets: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(packets[::2], packets[1::2], strict=True))


async def test_keys_reach_the_application(streamed: Streamed) -> None:
    """What the caller presses."""
    application = await streamed.open()
    streamed.sip.media.press("5#")
    first = await application.tell("dtmf")
    second = await application.tell("dtmf", number=2)
    assert (first["digit"], second["digit"]) == ("5", "#")
    assert first["duration_ms"] == pytest.approx(100, abs=40)


async def test_an_application_may_ask_for_quiet(streamed: Streamed) -> None:
    """`pause` and `resume`."""
    application = await streamed.open()
    await both_hear(streamed, application)
    await application.tell_platform(type="pause")
    await settle()
    paused = len(application.messages)
    await settle(0.5)
    assert len(application.messages) == paused
    await application.tell_platform(type="resume")
    await both_hear(streamed, application)


async def test_prompts_and_applications_are_heard_together(
    platform: Lab, customer: Customer, caller: Caller, web: ToneServer, leaving: Leaving
) -> None:
    """A stream never changes what parties hear unless it sends; after a prompt it is heard as before it."""
    prompt = action("play", stream_urls=[web.tone(440, 1500)])
    streamed = await idle_call(platform, customer, caller, action("sleep", duration=1500), prompt)
    leaving(streamed)
    application = await streamed.open(encapsulation="sln")
    await streamed.sip.media.hears(440, lasting=1.0)
    await settle(1.0)
    await application.say(sine(FROM_APPLICATION, 1.0))
    await settle()
    assert frequencies(streamed.sip.media.recording.tones()) == [440, FROM_APPLICATION]
    assert 440 in frequencies(application.tones())


# -- ends ------------------------------------------------------------------------------------------


async def test_the_call_goes_on_when_the_application_closes(streamed: Streamed) -> None:
    """And nothing of the stream is left."""
    application = await streamed.open()
    await application.close()
    await streamed.switches.until_no_streams()
    assert (await streamed.customer.call(streamed.id))["status"] == "progressing"


async def test_an_application_may_say_stop(streamed: Streamed) -> None:
    application = await streamed.open()
    await application.tell_platform(type="stop")
    assert (await application.tell("stop"))["reason"] == "application_closed"
    assert await application.closed() == (1000, "application_closed")
    await streamed.switches.until_no_streams()


async def test_all_streams_end_with_the_call(streamed: Streamed) -> None:
    applications = [await streamed.open() for _ in range(5)]
    await streamed.sip.bye()
    for application in applications:
        assert (await application.tell("stop"))["reason"] == "call_ended"
        assert await application.closed() == (1001, "call_ended")


async def test_the_stream_ends_when_the_call_is_hung_up(streamed: Streamed) -> None:
    application = await streamed.open()
    await streamed.customer.hang_up(streamed.id)
    assert await application.closed() == (1001, "call_ended")
    await streamed.sip.expect("left")


async def test_an_application_that_was_cut_off_comes_back(streamed: Streamed) -> None:
    """ "continues the stream with what was missed": nothing of the caller's tone is lost."""
    application = await streamed.open(encapsulation="sln")
    start = await application.tell("start")
    streamed.sip.media.say(sine(FROM_CALLER, 6.0))
    await settle(1.0)
    await application.socket.send(sine(FROM_APPLICATION, 4.0).astype("<i2").tobytes())
    await settle(0.5)
    application.cut()
    await asyncio.sleep(1.5)
    back = await streamed.open(encapsulation="sln", resume=start["stream_id"])
    again = await back.tell("start")
    assert (again["resumed"], again["lost_ms"]) == (True, 0)
    assert again["missed_ms"] > 1000
    await asyncio.sleep(3.5)
    heard = application.tones()[0].duration + sum(tone.duration for tone in back.tones())
    assert heard > 5.7
    [told] = streamed.sip.media.recording.tones()
    assert told.duration == pytest.approx(4.0, abs=0.1)
    await back.close()
    await streamed.switches.until_no_streams()


async def test_a_stream_that_nobody_comes_back_to_is_over(streamed: Streamed) -> None:
    """After ten seconds; then it can't be resumed either."""
    application = await streamed.open()
    start = await application.tell("start")
    application.cut()
    await streamed.switches.until_no_streams(within=14.0)
    refusal = await streamed.refusal(resume=start["stream_id"])
    assert (refusal.status, refusal.body["error"]["reason"]) == (404, "MEDIA_STREAM_NOT_FOUND")


async def test_the_later_connection_has_the_stream(streamed: Streamed) -> None:
    """An application that believes to be cut off, and is not."""
    application = await streamed.open()
    start = await application.tell("start")
    back = await streamed.open(resume=start["stream_id"])
    assert await application.closed() == (4004, "taken_over")
    await both_hear(streamed, back)
    await back.close()


async def test_a_stream_is_resumed_as_it_was_opened(streamed: Streamed) -> None:
    """Whichever process is asked; who asks for something else has lost nothing."""
    application = await streamed.open(encapsulation="sln", rate=16_000)
    start = await application.tell("start")
    application.cut()
    for _ in range(4):
        refusal = await streamed.refusal(encapsulation="sln", resume=start["stream_id"])
        assert refusal.status == 400
        [detail] = refusal.body["error"]["details"]
        assert (detail["field"], detail["allowed"]) == ("rate", ["16000"])
    back = await streamed.open(encapsulation="sln", rate=16_000, resume=start["stream_id"])
    again = await back.tell("start")
    assert (again["resumed"], again["rate"], again["lost_ms"]) == (True, 16_000, 0)
    await both_hear(streamed, back)
    await back.close()


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ({"encapsulation": "foo"}, "encapsulation", ["rtp", "sln", "audiosocket"]),
        ({"encapsulation": ""}, "encapsulation", ["rtp", "sln", "audiosocket"]),
        ({"direction": "up"}, "direction", ["both", "in", "out"]),
        ({"rate": "16000"}, "rate", ["8000"]),
        ({"encapsulation": "sln", "rate": "44100"}, "rate", ["8000", "16000"]),
    ],
)
async def test_what_is_not_known_is_named_with_what_is(
    streamed: Streamed, query: dict[str, str], field: str, allowed: list[str]
) -> None:
    refusal = await streamed.refusal(**query)
    assert refusal.status == 400
    assert refusal.body["error"]["reason"] == "INVALID_REQUEST_PARAMETER"
    [detail] = refusal.body["error"]["details"]
    assert (detail["field"], detail["allowed"]) == (field, allowed)


async def test_who_is_not_let_in_is_told_why(streamed: Streamed, customer: Customer) -> None:
    """Before the upgrade, with the API's error body."""
    nobody = await streamed.refusal(token="ec_wrong")
    assert (nobody.status, nobody.body["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    other = await streamed.refusal(call_id="01a1fc2e-bbe3-7000-8000-3fd51aead8a8")
    assert (other.status, other.body["error"]["reason"]) == (404, "CALL_NOT_FOUND")
    strange = await streamed.refusal(call_id="seven")
    assert (strange.status, strange.body["error"]["reason"]) == (400, "INVALID_REQUEST_PARAMETER")
    conference = await streamed.refusal(collection="conferences")
    assert (conference.status, conference.body["error"]["reason"]) == (404, "CONFERENCE_NOT_FOUND")
    assert other.headers["x-request-id"] == other.body["error"]["request_id"]
    await streamed.sip.bye()
    await customer.ended(streamed.id)
    ended = await streamed.refusal()
    assert (ended.status, ended.body["error"]["reason"]) == (409, "CALL_NOT_PROGRESSING")


async def test_text_and_garbage_are_left_out_and_counted(streamed: Streamed) -> None:
    """The stream goes on after each."""
    application = await streamed.open(encapsulation="audiosocket")
    await application.socket.send("hello")
    assert (await application.tell("error"))["code"] == "control_malformed"
    await application.tell_platform(type="dance")
    unknown = await application.tell("error", number=2)
    assert unknown["code"] == "control_unknown"
    assert "clear" in unknown["message"]
    await application.socket.send(b"\x77\x00\x01x")
    assert (await application.tell("error", number=3))["code"] == "audiosocket_kind"
    await application.say(sine(FROM_APPLICATION, 0.6))
    await settle()
    assert streamed.sip.media.recording.tones() != []


async def test_another_payload_type_is_left_out(streamed: Streamed) -> None:
    application = await streamed.open()
    await application.socket.send(application.packet(bytes(160), payload_type=8))
    assert (await application.tell("error"))["code"] == "rtp_payload_type"
    await application.socket.send(b"x")
    assert (await application.tell("error", number=2))["code"] == "rtp_too_short"
    await application.say(sine(FROM_APPLICATION, 0.6))
    await settle()
    assert streamed.sip.media.recording.tones() != []


async def test_a_message_of_ten_megabytes_is_too_big(streamed: Streamed) -> None:
    """The connection ends, with the code that says why; the stream is over and the call is not."""
    application = await streamed.open(encapsulation="sln")
    with contextlib.suppress(ConnectionClosed):
        await application.socket.send(bytes(10_000_000))
    code, _ = await application.closed()
    assert code == 1009
    assert (await streamed.customer.call(streamed.id))["status"] == "progressing"
