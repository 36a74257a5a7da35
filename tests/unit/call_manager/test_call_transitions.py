"""The status machine is complete, and says what the public interface says."""

import pytest

from call_manager.domain import decide, triggers
from call_manager.domain.causes import CAUSES, Phase, phase_of, reason_of
from call_manager.domain.transitions import STATUSES, TRANSITIONS, Outcome, Trigger
from call_manager.domain.turn import Timer
from call_manager.subscriptions import ACCEPTS, receive
from evercall.actor.turn import LiveActors
from evercall.contracts.base import Message
from evercall.contracts.call import CallStatus, Direction, HangupReason

ALLOWED = {
    CallStatus.DIALING: {"ringing", "progressing", "terminating", "canceling", "hangup"},
    CallStatus.RINGING: {"progressing", "terminating", "canceling", "hangup"},
    CallStatus.PROGRESSING: {"terminating", "hangup"},
    CallStatus.TERMINATING: {"hangup"},
    CallStatus.CANCELING: {"hangup"},
    CallStatus.HANGUP: set(),
}
"""Section 2.3 of the interface reference: which status may follow which."""


def test_every_pair_of_status_and_trigger_is_listed() -> None:
    assert set(TRANSITIONS) == set(CallStatus) == set(STATUSES)
    for cells in TRANSITIONS.values():
        assert set(cells) == set(Trigger)


@pytest.mark.parametrize("status", CallStatus)
def test_moves_are_those_of_the_public_interface(status: CallStatus) -> None:
    moves = {cell.value for cell in TRANSITIONS[status].values() if isinstance(cell, CallStatus)}
    assert moves <= ALLOWED[status]


def test_a_call_that_is_over_never_moves_again() -> None:
    assert not any(isinstance(c, CallStatus) for c in TRANSITIONS[CallStatus.HANGUP].values())


@pytest.mark.parametrize("status", [s for s in CallStatus if s is not CallStatus.HANGUP])
def test_every_live_status_ends_when_the_channel_is_gone(status: CallStatus) -> None:
    assert TRANSITIONS[status][Trigger.GONE] is CallStatus.HANGUP


DRAWN = {Trigger.GIVEN_UP, Trigger.ENDED, Trigger.LOST}


def test_every_trigger_that_is_worked_on_has_a_handler() -> None:
    worked_on = {
        trigger
        for cells in TRANSITIONS.values()
        for trigger, cell in cells.items()
        if cell is Outcome.STAY or isinstance(cell, CallStatus)
    }
    assert set(decide._HANDLERS) == worked_on - DRAWN


def test_every_timer_and_every_accepted_message_has_a_trigger() -> None:
    assert set(triggers._TIMERS) == set(Timer)
    requests = {kind for kind in ACCEPTS if kind.__module__.endswith("contracts.call")}
    assert requests <= set(triggers._MESSAGES)


def test_an_unknown_message_is_an_error() -> None:
    class Odd(Message, frozen=True):
        pass

    with pytest.raises(TypeError):
        receive(Odd(), LiveActors({}))


@pytest.mark.parametrize(
    ("status", "direction", "cause", "reason"),
    [
        (CallStatus.RINGING, Direction.INCOMING, 19, HangupReason.NOANSWER),
        (CallStatus.RINGING, Direction.INCOMING, 17, HangupReason.BUSY),
        (CallStatus.RINGING, Direction.INCOMING, 127, HangupReason.NORMAL),
        (CallStatus.PROGRESSING, Direction.INCOMING, 200, HangupReason.TIMEOUT),
        (CallStatus.PROGRESSING, Direction.INCOMING, 17, HangupReason.NORMAL),
        (CallStatus.DIALING, Direction.OUTGOING, 19, HangupReason.NOANSWER),
        (CallStatus.RINGING, Direction.OUTGOING, 21, HangupReason.NOANSWER),
        (CallStatus.RINGING, Direction.OUTGOING, 17, HangupReason.BUSY),
        (CallStatus.DIALING, Direction.OUTGOING, 16, HangupReason.NORMAL),
        (CallStatus.DIALING, Direction.OUTGOING, 26, HangupReason.NORMAL),
        (CallStatus.DIALING, Direction.OUTGOING, 0, HangupReason.DIALOUT),
        (CallStatus.DIALING, Direction.OUTGOING, 1, HangupReason.FAILED),
        (CallStatus.PROGRESSING, Direction.OUTGOING, 200, HangupReason.TIMEOUT),
        (CallStatus.PROGRESSING, Direction.OUTGOING, 38, HangupReason.NORMAL),
        (CallStatus.TERMINATING, Direction.INCOMING, 201, HangupReason.AMD),
        (CallStatus.TERMINATING, Direction.OUTGOING, 16, HangupReason.NORMAL),
        (CallStatus.CANCELING, Direction.OUTGOING, 17, HangupReason.CANCEL),
    ],
)
def test_hangup_reasons_are_those_of_the_public_interface(
    status: CallStatus, direction: Direction, cause: int, reason: HangupReason
) -> None:
    assert reason_of(phase_of(status, direction), cause) is reason


def test_every_phase_and_every_reason_is_covered() -> None:
    assert all(reason_of(phase, 9999) for phase in Phase)
    assert set(CAUSES) == set(HangupReason)
