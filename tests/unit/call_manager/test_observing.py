"""Metrics and logs around `decide`: counted once, and no personal data in the clear."""

from functools import partial
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY

from call_manager.domain.decide import decide
from call_manager.domain.turn import Rules
from call_manager.observing import observed
from tests.unit.call_manager import stage as staging
from tests.unit.call_manager.stage import (
    ANSWER,
    NO_ROUTE,
    PLAY,
    Stage,
    create,
    digits,
    gone,
    incoming,
    started,
    up,
)

PREFIX = "evercall_call_manager_"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(PREFIX + name, labels) or 0.0


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Any:
    watched = observed(partial(decide, Rules()))
    monkeypatch.setattr(staging, "decide", lambda _, *rest: watched(*rest))
    with structlog.testing.capture_logs() as entries:
        yield entries


def names(entries: list[Any]) -> list[str]:
    return [entry["event"] for entry in entries]


def test_a_call_is_counted_from_its_begin_to_its_end(logged: list[Any]) -> None:
    begun = value("calls_total", direction="incoming")
    ended = {"direction": "incoming", "hangup_reason": "normal", "hangup_by": "remote"}
    before = value("calls_ended_total", **ended)
    answers = value("answer_seconds_count", direction="incoming")
    stage = incoming(ANSWER, PLAY)
    stage.hear(up())
    stage.hear(*digits("12"))
    stage.hear(gone(), gone())
    assert value("calls_total", direction="incoming") == begun + 1
    assert value("calls_ended_total", **ended) == before + 1
    assert value("answer_seconds_count", direction="incoming") == answers + 1
    [line] = logged
    assert line["event"] == "call_ended"
    assert (line["hangup_reason"], line["hangup_by"]) == ("normal", "remote")


def test_an_outgoing_call_that_finds_no_asterisk(logged: list[Any]) -> None:
    stage = Stage(farm=staging.AWAY)
    stage.hear(create())
    assert names(logged) == ["call_request_failed", "call_ended"]


def test_a_call_to_nobody_is_counted_apart(logged: list[Any]) -> None:
    unrouted = value("unrouted_calls_total", reason="route_not_found")
    begun = value("calls_total", direction="incoming")
    stage = Stage(routes=NO_ROUTE)
    stage.hear(started())
    assert value("unrouted_calls_total", reason="route_not_found") == unrouted + 1
    assert value("calls_total", direction="incoming") == begun
    assert names(logged) == ["call_unrouted"]


def test_a_prompt_that_is_left_out_is_counted(logged: list[Any]) -> None:
    skipped = value("skipped_prompts_total")
    incoming(ANSWER, PLAY, audio=staging.AWAY)
    assert value("skipped_prompts_total") == skipped + 1


def test_numbers_stand_only_under_personal_keys(logged: list[Any]) -> None:
    stage = incoming(ANSWER, PLAY)
    stage.hear(up(), gone())
    Stage(routes=NO_ROUTE).hear(started())
    assert logged
    for entry in logged:
        for key, text in entry.items():
            assert key.startswith("pii_") or "+1555" not in str(text)
