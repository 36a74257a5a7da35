"""What an upgrade request asks for, and what of it is refused."""

from uuid import UUID

import pytest

from evercall.contracts.media import MediaDirection
from evercall.service.errors import InvalidRequest, NotFound
from media_manager.domain.request import StreamRequest, read_request

CALL = UUID(int=2)
PATH = f"/v1.0/calls/{CALL}/media_stream"


def test_nothing_said_is_rtp_both_ways() -> None:
    assert read_request(PATH, "token=x&unknown=1") == StreamRequest(
        CALL, "rtp", 8000, MediaDirection.BOTH, MediaDirection.BOTH, None
    )


def test_all_can_be_said() -> None:
    resume = UUID(int=9)
    query = f"encapsulation=sln&rate=16000&direction=in&resume={resume}"
    assert read_request(PATH, query) == StreamRequest(
        CALL, "sln", 16000, MediaDirection.BOTH, MediaDirection.NONE, resume
    )


def test_out_is_seen_by_the_application() -> None:
    asked = read_request(PATH, "direction=out")
    assert (asked.listen, asked.speak) == (MediaDirection.NONE, MediaDirection.BOTH)


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ("encapsulation=opus", "encapsulation", ["rtp", "sln", "audiosocket"]),
        ("encapsulation=", "encapsulation", ["rtp", "sln", "audiosocket"]),
        ("rate=16000", "rate", ["8000"]),
        ("encapsulation=sln&rate=8", "rate", ["8000", "16000"]),
        ("direction=IN", "direction", ["both", "in", "out"]),
        ("rate=8000&rate=8000", "rate", None),
        ("resume=x", "resume", None),
        ("resume=", "resume", None),
    ],
)
def test_a_bad_parameter_is_named(query: str, field: str, allowed: list[str] | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_request(PATH, query)
    assert refused.value.code == "invalid_request_parameter"
    details = {"field": field} if allowed is None else {"field": field, "allowed": allowed}
    assert refused.value.details == details


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/", "route_not_found"),
        (f"{PATH}/", "route_not_found"),
        (f"/v1.0/queues/{CALL}/media_stream", "route_not_found"),
        (f"/v1.0/conferences/{CALL}/media_stream", "conference_not_found"),
    ],
)
def test_there_is_nothing_at_other_paths(path: str, code: str) -> None:
    with pytest.raises(NotFound) as refused:
        read_request(path, "")
    assert refused.value.code == code


def test_a_call_is_named_by_a_uuid() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_request("/v1.0/calls/5/media_stream", "")
    assert refused.value.details == {"field": "id"}
