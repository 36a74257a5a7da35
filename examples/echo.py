"""Says to the caller what the caller says."""

import asyncio

from stream import arguments, open_stream


async def main() -> None:
    async with open_stream(arguments("Echoes a call")) as stream:
        async for audio in stream:
            if audio:
                await stream.say(audio)


if __name__ == "__main__":
    asyncio.run(main())
