"""Where a flow may have its call's audio sent."""

import base64

import pytest

from evercall.service.errors import InvalidRequest
from media_manager.domain.target import Target, read_target


@pytest.mark.parametrize(
    ("text", "transport", "encapsulation", "target"),
    [
        (
            "wss://app.example",
            "",
            "sln",
            Target("websocket", "app.example", 443, "wss://app.example"),
        ),
        (
            "ws://app.example:81/in?x=1#top",
            "websocket",
            "rtp",
            Target("websocket", "app.example", 81, "ws://app.example:81/in?x=1"),
        ),
        ("192.0.2.9:4000", "", "rtp", Target("udp", "192.0.2.9", 4000)),
        ("app.example:4000", "", "audiosocket", Target("tcp", "app.example", 4000)),
        ("[2001:db8::9]:4000", "tcp", "audiosocket", Target("tcp", "2001:db8::9", 4000)),
    ],
)
def test_what_can_be_connected_to(
    text: str, transport: str, encapsulation: str, target: Target
) -> None:
    assert read_target(text, transport, encapsulation) == target


def test_credentials_of_a_url_go_into_the_request_and_not_into_the_address() -> None:
    target = read_target("wss://me%40home:p%3Ass@app.example:8443/a", "", "sln")
    assert target.url == "wss://app.example:8443/a"
    kind, _, pair = target.authorization.partition(" ")
    assert (kind, base64.b64decode(pair)) == ("Basic", b"me@home:p:ss")


@pytest.mark.parametrize(
    ("text", "transport", "encapsulation"),
    [
        ("http://app.example/", "", "sln"),
        ("wss:///path", "", "sln"),
        ("wss://app.example:99999/", "", "sln"),
        ("wss://[::1/", "", "sln"),
        ("wss://app.example/", "udp", "rtp"),
        ("192.0.2.9:4000", "", "sln"),
        ("192.0.2.9:4000", "websocket", "rtp"),
        ("192.0.2.9", "", "rtp"),
        (":4000", "", "rtp"),
        ("192.0.2.9:0", "", "rtp"),
        ("192.0.2.9:65536", "", "rtp"),
        ("192.0.2.9:port", "", "rtp"),
        ("", "", "rtp"),
    ],
)
def test_what_is_no_target_is_refused(text: str, transport: str, encapsulation: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_target(text, transport, encapsulation)
    assert refused.value.code == "media_target_invalid"
