"""Waiting for what must come true: asked again and again, up to a bound, never slept for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    probe: Callable[[], Awaitable[T]], within: float = 15.0, every: float = 0.05
) -> T:
    """The first answer of `probe` that counts as true.

    A probe that is under way at the bound is given up: one that hangs is an answer that never comes.

    Raises:
        AssertionError: none came within so many seconds; says the last answer.
    """
    bound = asyncio.timeout(within)
    last: object = "no answer yet"
    try:
        async with bound:
            while True:
                last = answer = await probe()
                if answer:
                    return answer
                await asyncio.sleep(every)
    except TimeoutError:
        if not bound.expired():
            raise  # the probe's own
        raise AssertionError(f"not within {within:g} s; the last answer: {last!r}") from None
