"""A menu: each key is answered by as many beeps as it says; 0 ends it."""

import asyncio

import numpy as np
from stream import RATE, Stream, arguments, open_stream


async def main() -> None:
    async with open_stream(arguments("A menu of keys")) as stream:
        await stream.say(beep(440, 0.3))
        async for _ in stream:
            for told in stream.told:
                if told["type"] == "dtmf" and not await pressed(stream, told["digit"]):
                    return
            stream.told.clear()


async def pressed(stream: Stream, digit: str) -> bool:
    """Answers a key. Returns whether the menu goes on."""
    await stream.tell("clear")
    if not digit.isdigit() or digit == "0":
        return digit != "0"
    await stream.say((beep(880, 0.15) + bytes(RATE // 10 * 2)) * int(digit))
    return True


def beep(frequency: float, seconds: float) -> bytes:
    """A tone."""
    time = np.arange(int(seconds * RATE)) / RATE
    samples: bytes = (8000 * np.sin(2 * np.pi * frequency * time)).astype("<i2").tobytes()
    return samples


if __name__ == "__main__":
    asyncio.run(main())
