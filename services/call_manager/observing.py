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
    if before is None or before.customer_id is None:
        BEGUN.labels(after.direction.value).inc()
        _log("call_began", after, pii_source=after.source.target, pii_to=after.destination.target)
        if before is None and after.status is not CallStatus.HANGUP:
            return
    status = before.status if before is not None else None
    if after.status is status:
        return
    if after.status is CallStatus.PROGRESSING and after.tm_progressing is not None:
        waited = (after.tm_progressing - after.tm_create).total_seconds()
        TIME_TO_ANSWER.labels(after.direction.value).observe(max(0.0, waited))
        _log("call_answered", after)
    if after.status is CallStatus.HANGUP:
        reason, by = after.hangup_reason.value, after.hangup_by.value
        ENDED.labels(after.direction.value, reason, by).inc()
        _log("call_ended", after, hangup_reason=reason, hangup_by=by)


def _log(event: str, call: CallState, **values: object) -> None:
    leg = call.leg
    log.info(
        event,
        call_id=str(call.id),
        customer_id=str(call.customer_id),
        direction=call.direction.value,
        asterisk_id=leg.asterisk_id if leg is not None else None,
        **values,
    )
