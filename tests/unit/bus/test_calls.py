import msgspec
import pytest

from evercall.bus.calls import OpenRequests
from evercall.service.errors import Internal, Unavailable


def unavailable() -> Unavailable:
    return Unavailable("broker_unavailable", "Away")


async def test_an_answer_reaches_the_caller_that_waits_for_it() -> None:
    requests = OpenRequests()
    first, second = requests.open("1", int), requests.open("2", int)
    requests.answer("2", b"22")
    requests.answer("1", b"11")
    assert (await first, await second) == (11, 22)


async def test_late_and_unknown_answers_are_dropped() -> None:
    requests = OpenRequests()
    future = requests.open("1", int)
    requests.answer("1", b"1")
    requests.answer("1", b"2")
    requests.answer("3", b"3")
    assert await future == 1


async def test_all_waiting_callers_hear_of_a_lost_connection() -> None:
    requests = OpenRequests()
    futures = [requests.open(str(n), int) for n in range(3)]
    requests.fail_all(unavailable)
    for future in futures:
        with pytest.raises(Unavailable, match="broker_unavailable"):
            await future


async def test_an_answer_that_cannot_be_read_fails_its_own_request_only() -> None:
    requests = OpenRequests()
    first = requests.open("1", msgspec.json.Decoder(int).decode)
    second = requests.open("2", msgspec.json.Decoder(int).decode)
    requests.answer("1", b'"no number"')
    requests.answer("2", b"22")
    with pytest.raises(Internal, match="unreadable_answer"):
        await first
    assert await second == 22
