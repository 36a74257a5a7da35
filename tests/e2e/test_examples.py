"""Each example, as a program of its own, with a real call."""

import asyncio
import struct
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.streams import Streamed
from tests.support.phone_audio import sine, tones, voiced_seconds

EXAMPLES = Path(__file__).parents[2] / "examples"


async def start(streamed: Streamed, name: str, *options: str) -> asyncio.subprocess.Process:
    """The example, at work on the call."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / f"{name}.py"),
        "--url",
        streamed.lab.farm.api_url,
        "--call",
        streamed.id,
        "--token",
        streamed.customer.api.accesskey,
        *options,
    )


async def until_open(streamed: Streamed) -> None:
    """The example has its stream."""
    async with asyncio.timeout(8.0):
        while not await streamed.switches.of_streams():
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)


async def ended(process: asyncio.subprocess.Process, status: int = 0) -> None:
    """The example is over, in order."""
    async with asyncio.timeout(10.0):
        assert await process.wait() == status


async def test_echo(streamed: Streamed) -> None:
    process = await start(streamed, "echo")
    await until_open(streamed)
    streamed.sip.media.say(sine(660, 1.5))
    await streamed.sip.media.hears(660, lasting=1.0)
    await streamed.sip.bye()
    # Closed with 1001: the call has ended, and so the loop over its audio.
    await ended(process)


async def test_recorder(streamed: Streamed, tmp_path: Path) -> None:
    output = tmp_path / "call"
    process = await start(streamed, "recorder", "--seconds", "2", "--output", str(output))
    await until_open(streamed)
    streamed.sip.media.say(sine(1000, 1.0))
    await ended(process)
    with wave.open(f"{output}.wav") as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 16_000)
        samples = np.frombuffer(file.readframes(16_000), dtype="<i2").astype(np.int16)
    [heard] = tones(samples)
    assert heard.frequency == pytest.approx(1000, abs=3)
    picture = await asyncio.to_thread(Path(f"{output}.png").read_bytes)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack("!II", picture[16:24]) == (198 - 1, 129)


async def test_voice_bot(streamed: Streamed) -> None:
    """It speaks; it stops when it is interrupted; it answers."""
    espeak = str(streamed.lab.paths.bin / "espeak-ng")
    process = await start(streamed, "voice_bot", "--espeak", espeak)
    await until_open(streamed)
    await asyncio.sleep(1.5)
    media = streamed.sip.media
    assert voiced_seconds(media.recording.samples()) > 0.5
    media.say(sine(500, 1.2))
    await asyncio.sleep(0.6)
    interrupted = media.now
    await media.hears_nothing(0.5)
    assert media.now - interrupted < 2.0
    media.say(np.zeros(160, dtype=np.int16))
    await ended(process)
    answer = media.recording.samples(interrupted)
    assert voiced_seconds(answer) > 1.0


async def test_ivr(streamed: Streamed) -> None:
    process = await start(streamed, "ivr")
    await until_open(streamed)
    await streamed.sip.media.hears(440)
    streamed.sip.media.press("3")
    await asyncio.sleep(1.6)
    beeps = [
        tone for tone in streamed.sip.media.recording.tones() if abs(tone.frequency - 880) < 10
    ]
    assert len(beeps) == 3
    streamed.sip.media.press("0")
    await ended(process)
