"""A bot that speaks, and stops when the caller begins to: barge-in.

says a text ─▶ the caller speaks ─▶ `clear`, listens ─▶ the caller is silent ─▶ answers
"""

import asyncio
import io
import subprocess
import wave

import numpy as np
from stream import RATE, Stream, arguments, open_stream

LOUD = 500.0
"""Root mean square above which a frame counts as speech."""
QUIET_FRAMES = 30


async def main() -> None:
    given = arguments("A voice bot", espeak="espeak-ng", answers="1")
    greeting = speech(
        given.espeak, "Hello. Please tell me, in your own words, why you are calling."
    )
    answer = speech(given.espeak, "Thank you. I have understood every word.")
    async with open_stream(given) as stream:
        await stream.say(greeting)
        await converse(stream, answer, int(given.answers))


async def converse(stream: Stream, answer: bytes, answers: int) -> None:
    """Answers so many times, each time when the caller has spoken and is silent again."""
    spoke, quiet = False, 0
    async for audio in stream:
        if any(told["type"] == "marked" for told in stream.told) and not answers:
            return
        if not audio:
            continue
        is_loud = loudness(audio) > LOUD
        if is_loud and not spoke:
            await stream.tell("clear")
        spoke, quiet = spoke or is_loud, 0 if is_loud else quiet + 1
        if spoke and quiet >= QUIET_FRAMES and answers:
            spoke, answers = False, answers - 1
            await stream.say(answer)
            await stream.tell("mark", name="answered")


def loudness(audio: bytes) -> float:
    """Root mean square of linear audio."""
    return float(np.sqrt(np.mean(np.frombuffer(audio, dtype="<i2").astype(np.float64) ** 2)))


def speech(espeak: str, text: str) -> bytes:
    """A text, spoken, at the call's rate."""
    spoken = subprocess.run([espeak, "--stdout", text], capture_output=True, check=True)  # noqa: S603
    with wave.open(io.BytesIO(spoken.stdout)) as file:
        rate, data = file.getframerate(), file.readframes(1 << 30)
    samples = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.float64)
    # A mean over what makes one sample of ours is filter enough for a voice.
    step = rate / RATE
    edges = (np.arange(int(len(samples) / step) + 1) * step).astype(int)
    means = np.add.reduceat(samples, edges[:-1]) / np.diff(edges)
    return means.astype("<i2").tobytes()


if __name__ == "__main__":
    asyncio.run(main())
