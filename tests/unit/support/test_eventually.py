"""What comes is given back, what never comes is told with the last answer."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.eventually import eventually


def answering(*answers: object) -> Callable[[], Awaitable[object]]:
    """Gives one answer after the other, and goes on with the last."""
    left = list(answers)

    async def probe() -> object:
        return left.pop(0) if len(left) > 1 else left[0]

    return probe


async def test_gives_the_first_answer_that_is_true() -> None:
    assert await eventually(answering([], [], [3], [4]), every=0.0) == [3]


async def test_tells_the_last_answer_of_what_never_comes() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.02 s; the last answer: \[\]"):
        await eventually(answering([]), within=0.02, every=0.001)


async def test_gives_up_a_probe_that_hangs() -> None:
    with pytest.raises(AssertionError, match="no answer yet"):
        await eventually(asyncio.Event().wait, within=0.02)


@pytest.mark.parametrize("fault", [ValueError, TimeoutError])
async def test_a_fault_of_the_probe_is_not_waited_out(fault: type[Exception]) -> None:
    async def probe() -> bool:
        raise fault("its own")

    with pytest.raises(fault, match="its own"):
        await eventually(probe, within=60.0)
