"""Why a call ended: Q.850 causes and the public hangup reasons, as data.

Causes above 127 are private (200: the longest duration is reached, 201: an answering machine).
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from evercall.ari.commands import Cause
from evercall.contracts.call import CallStatus, Direction, HangupReason

DURATION_OVER = 200
ANSWERING_MACHINE = 201

UNKNOWN = 31
"""Q.850 "normal, unspecified": for a hangup that nobody told us of."""


class Phase(Enum):
    """How far a call had got when it ended."""

    INCOMING_UNANSWERED = auto()
    OUTGOING_UNANSWERED = auto()
    ANSWERED = auto()
    TERMINATING = auto()
    CANCELING = auto()


class Reasons(NamedTuple):
    """Causes with a reason of their own, and the reason of all others."""

    by_cause: Mapping[int, HangupReason]
    otherwise: HangupReason


REASONS: Mapping[Phase, Reasons] = {
    Phase.INCOMING_UNANSWERED: Reasons(
        {Cause.NO_ANSWER: HangupReason.NOANSWER, Cause.USER_BUSY: HangupReason.BUSY},
        HangupReason.NORMAL,
    ),
    Phase.OUTGOING_UNANSWERED: Reasons(
        {
            0: HangupReason.DIALOUT,
            Cause.NORMAL_CLEARING: HangupReason.NORMAL,
            Cause.USER_BUSY: HangupReason.BUSY,
            Cause.NO_ANSWER: HangupReason.NOANSWER,
            Cause.CALL_REJECTED: HangupReason.NOANSWER,
            26: HangupReason.NORMAL,  # answered elsewhere
        },
        HangupReason.FAILED,
    ),
    Phase.ANSWERED: Reasons({DURATION_OVER: HangupReason.TIMEOUT}, HangupReason.NORMAL),
    Phase.TERMINATING: Reasons({ANSWERING_MACHINE: HangupReason.AMD}, HangupReason.NORMAL),
    Phase.CANCELING: Reasons({}, HangupReason.CANCEL),
}

CAUSES: Mapping[HangupReason, Cause] = {
    HangupReason.NONE: Cause.NORMAL_CLEARING,
    HangupReason.NORMAL: Cause.NORMAL_CLEARING,
    HangupReason.CANCEL: Cause.NORMAL_CLEARING,
    HangupReason.TIMEOUT: Cause.NORMAL_CLEARING,
    HangupReason.AMD: Cause.NORMAL_CLEARING,
    HangupReason.LOST: Cause.NORMAL_CLEARING,
    HangupReason.FAILED: Cause.NO_USER_RESPONSE,
    HangupReason.BUSY: Cause.USER_BUSY,
    HangupReason.NOANSWER: Cause.NO_ANSWER,
    HangupReason.DIALOUT: Cause.NO_ANSWER,
}
"""What Asterisk is told when we hang up for this reason."""

_PHASES: Mapping[CallStatus, Phase] = {
    CallStatus.DIALING: Phase.OUTGOING_UNANSWERED,
    CallStatus.PROGRESSING: Phase.ANSWERED,
    CallStatus.TERMINATING: Phase.TERMINATING,
    CallStatus.CANCELING: Phase.CANCELING,
}


def phase_of(status: CallStatus, direction: Direction) -> Phase:
    """The phase of a call that has not ended yet."""
    if status is not CallStatus.RINGING:
        return _PHASES[status]
    incoming = direction is Direction.INCOMING
    return Phase.INCOMING_UNANSWERED if incoming else Phase.OUTGOING_UNANSWERED


def reason_of(phase: Phase, cause: int) -> HangupReason:
    """The public reason of a hangup in this phase with this cause."""
    reasons = REASONS[phase]
    return reasons.by_cause.get(cause, reasons.otherwise)
