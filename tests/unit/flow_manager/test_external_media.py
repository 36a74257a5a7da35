"""What `external_media_start` may be told."""

from typing import Any
from uuid import UUID

import pytest

from evercall.contracts.flow import FlowCreate
from evercall.service.errors import InvalidRequest
from flow_manager.domain.validation import validate


def faults(**option: Any) -> dict[str, str]:
    """What is wrong with these options, by field."""
    request = FlowCreate(
        id=UUID(int=1),
        customer_id=UUID(int=2),
        actions=[{"type": "external_media_start", "option": option}],
    )
    try:
        validate(request)
    except InvalidRequest as error:
        prefix = "actions[0].option."
        return {
            fault["path"].removeprefix(prefix): fault["message"]
            for fault in error.details["faults"]
        }
    return {}


@pytest.mark.parametrize(
    "option",
    [
        {"url": "wss://app.example/audio"},
        {"url": "ws://app.example:8000/${voipbin.call.id}", "encapsulation": "sln"},
        {"url": "${where}", "transport": "websocket"},
        {"external_host": "media.example:9000"},
        {"external_host": "203.0.113.9:9000", "transport": "udp", "format": "ulaw"},
        {"external_host": "${host}:9092", "encapsulation": "audiosocket", "transport": "tcp"},
        {"external_host": "x.example:1", "direction_listen": "", "direction_speak": "out"},
    ],
)
def test_what_is_right_passes(option: dict[str, Any]) -> None:
    assert faults(**option) == {}


@pytest.mark.parametrize(
    ("option", "field", "says"),
    [
        ({}, "url", "or external_host"),
        ({"url": "wss://a/", "external_host": "a:1"}, "url", "not both"),
        ({"url": "https://a/"}, "url", "ws or wss"),
        ({"external_host": "media.example"}, "external_host", "a host and a port"),
        ({"external_host": "a:1", "encapsulation": "sln"}, "encapsulation", "rtp or audiosocket"),
        ({"external_host": "a:1", "transport": "tcp"}, "transport", "must be udp"),
        ({"url": "wss://a/", "transport": "udp"}, "transport", "must be websocket"),
        ({"url": "wss://a/", "encapsulation": "opus"}, "encapsulation", '"audiosocket"'),
        ({"url": "wss://a/", "format": "alaw"}, "format", '"ulaw"'),
        (
            {"url": "wss://a/", "direction_listen": "", "direction_speak": ""},
            "direction_listen",
            "must not be empty",
        ),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(
    option: dict[str, Any], field: str, says: str
) -> None:
    found = faults(**option)
    assert says in found[field]
    assert len(found) == 1
