"""Metrics and logs of what calls decide. `domain` knows neither, so this stands around it.

A batch that could not be committed is decided on again, and then counted again: the figures are for watching,
not for billing.
"""

from collections.abc import Callable
from datetime import datetime

from prometheus_client import Counter, Histogram

from call_manager.domain.call import CallState
from evercall.actor.model import Decision, Failed
from evercall.contracts.base import Message
from evercall.contracts.call import CallStatus
from evercall.service.logging import get_logger

BEGUN = Counter("evercall_call_manager_calls_total", "Calls that began", ["direction"])
ENDED = Counter(
    "evercall_call_manager_calls_ended_total",
    "Calls that ended",
    ["direction", "hangup_reason", "hangup_by"],
)
UNROUTED = Counter(
    "evercall_call_manager_unrouted_calls_total", "Incoming calls without a route", ["reason"]
)
SKIPPED = Counter(
    "evercall_call_manager_skipped_prompts_total", "Prompts left out because they can't be had"
)
TIME_TO_ANSWER = Histogram(
    "evercall_call_manager_answer_seconds",
    "From the first sign of a call to its answer",
    ["direction"],
    buckets=(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.5, 5, 10, 20, 40, 80),
)

log = get_logger(__name__)

Decide = Callable[[CallState | None, Message, datetime], Decision[CallState]]


def observed(decide: Decide) -> Decide:
    """`decide`, watched."""

    def watch(state: CallState | None, message: Message, now: datetime) -> Decision[CallState]:
        decision = decide(state, message, now)
        if isinstance(message, Failed):
            _failed(state, message)
        if decision.state is not state and decision.state is not None:
            _changed(state, decision.state)
        return decision

    return watch


def _failed(state: CallState | None, message: Failed) -> None:
    call_id = str(state.id) if state is not None else ""
    if message.key.startswith("audio"):
        SKIPPED.inc()
    elif message.key == "route":
        UNROUTED.labels(message.error.code).inc()
        called = state.destination.target if state is not None else ""
        log.info("call_unrouted", call_id=call_id, reason=message.error.code, pii_called=called)
    else:
        log.warning(
            "call_request_failed", call_id=call_id, key=message.key, code=message.error.code
        )


def _changed(before: CallState | None, after: CallState) -> None:
    if after.customer_id is None:
        return
    direction = after.direction.value
    if before is None or before.customer_id is None:
        BEGUN.labels(direction).inc()
    if before is not None and after.status is before.status:
        return
    if after.status is CallStatus.PROGRESSING:
        TIME_TO_ANSWER.labels(direction).observe(_seconds(after.tm_create, after.tm_progressing))
    if after.status is CallStatus.HANGUP:
        ENDED.labels(direction, after.hangup_reason.value, after.hangup_by.value).inc()
        _log_end(after)


def _log_end(call: CallState) -> None:
    """The one line that a call leaves: a line costs as much as a message, so there is no more than one."""
    log.info(
        "call_ended",
        call_id=str(call.id),
        customer_id=str(call.customer_id),
        direction=call.direction.value,
        pii_source=call.source.target,
        pii_destination=call.destination.target,
        asterisk_id=call.leg.asterisk_id if call.leg is not None else None,
        sip_call_id=call.leg.sip_call_id if call.leg is not None else None,
        hangup_reason=call.hangup_reason.value,
        hangup_by=call.hangup_by.value,
        seconds=_seconds(call.tm_create, call.tm_hangup),
        seconds_answered=_seconds(call.tm_progressing, call.tm_hangup),
    )


def _seconds(since: datetime | None, until: datetime | None) -> float:
    if since is None or until is None:
        return 0.0
    return max(0.0, (until - since).total_seconds())
