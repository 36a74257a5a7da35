"""The status machine of a call, as data.

Rule 1: every change of a call's status is a cell of `TRANSITIONS`; `Turn.move` is its only reader that
writes. Rule 2: every pair of status and trigger is listed. A cell is

    a status   the call moves there
    STAY       the trigger is worked on, the status stays
    IGNORED    late, repeated or meaningless now: nothing happens
    ILLEGAL    an error to whoever asked

What a call hears (`messages`, the contracts, timers, answers) is named by a `Trigger`; `decide.trigger_of`
does the naming. The last group of triggers is not heard: `ending` draws them from what was heard.

    dialing ──▶ ringing ──▶ progressing ──▶ terminating ──▶ hangup
       │           │              │                            ▲
       └───────────┴─▶ canceling ─┼────────────────────────────┤
                                  └────────────────────────────┘

An incoming call begins at `ringing`, an outgoing one at `dialing`. `docs/` has the diagram that is drawn
from the table.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum, auto

from evercall.contracts.call import CallStatus


class Outcome(Enum):
    """What a trigger does where it does not change the status."""

    STAY = auto()
    IGNORED = auto()
    ILLEGAL = auto()


class Trigger(StrEnum):
    """What may happen to a call."""

    # from Asterisk
    ENTERED = "entered"
    """The channel of an incoming call entered Stasis: it does so once, before there is a status."""
    PICKED_UP = "picked_up"
    """The channel of an outgoing call is up. It is ours a moment later, when it enters Stasis."""
    RANG = "rang"
    ANSWERED = "answered"
    DIGIT = "digit"
    PLAYED = "played"
    GONE = "gone"
    MEDIA_LEG_UP = "media_leg_up"
    MEDIA_LEG_GONE = "media_leg_gone"
    REFUSED = "refused"
    SEEN = "seen"
    ASTERISK_LOST = "asterisk_lost"
    """Told by those who watch the farm."""

    # from those who steer
    CREATE_ASKED = "create_asked"
    HANGUP_ASKED = "hangup_asked"
    DELETE_ASKED = "delete_asked"
    FLOW_STOPPED = "flow_stopped"
    MEDIA_START_ASKED = "media_start_asked"
    """The handler answers for every status, because the error says which one it is."""
    MEDIA_STOP_ASKED = "media_stop_asked"
    MEDIA_OWNER_GONE = "media_owner_gone"

    # answers to what the call asked
    ROUTE_SETTLED = "route_settled"
    """Only counts before there is a customer, and so before there is a status that anybody sees."""
    ASTERISK_CHOSEN = "asterisk_chosen"
    NO_ASTERISK = "no_asterisk"
    RUN_GIVEN = "run_given"
    RUN_REFUSED = "run_refused"
    AUDIO_SETTLED = "audio_settled"
    MEDIA_SETTLED = "media_settled"

    # timers
    DIAL_OVERDUE = "dial_overdue"
    DURATION_OVER = "duration_over"
    ACTION_DUE = "action_due"
    ASK_DUE = "ask_due"
    GONE_OVERDUE = "gone_overdue"
    MEDIA_DUE = "media_due"

    # drawn from the above
    GIVEN_UP = "given_up"
    """We hang up an outgoing call that was not answered."""
    ENDED = "ended"
    """We hang up any other call."""
    LOST = "lost"
    """The Asterisk of the call is not the one that it was."""


_STAY, _NONE, _ERROR = Outcome.STAY, Outcome.IGNORED, Outcome.ILLEGAL
_RING, _PROG = CallStatus.RINGING, CallStatus.PROGRESSING
_TERM, _CANC, _HANG = CallStatus.TERMINATING, CallStatus.CANCELING, CallStatus.HANGUP

Cell = CallStatus | Outcome

# In `hangup`, a sign of life (entered, rang, answered, seen) stays to be worked on: a channel that outlived
# its call is hung up.
# fmt: off
_MATRIX: Mapping[Trigger, tuple[Cell, Cell, Cell, Cell, Cell, Cell]] = {
    #                         dialing ringing progressing terminating canceling hangup
    Trigger.ENTERED:         (_NONE,  _NONE,  _NONE,      _NONE,      _NONE,    _STAY),
    Trigger.PICKED_UP:       (_NONE,  _NONE,  _NONE,      _NONE,      _NONE,    _NONE),
    Trigger.RANG:            (_RING,  _NONE,  _NONE,      _NONE,      _NONE,    _STAY),
    Trigger.ANSWERED:        (_PROG,  _PROG,  _NONE,      _NONE,      _NONE,    _STAY),
    Trigger.DIGIT:           (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),
    Trigger.PLAYED:          (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),
    Trigger.GONE:            (_HANG,  _HANG,  _HANG,      _HANG,      _HANG,    _NONE),
    Trigger.MEDIA_LEG_UP:    (_STAY,  _STAY,  _STAY,      _STAY,      _STAY,    _STAY),
    Trigger.MEDIA_LEG_GONE:  (_STAY,  _STAY,  _STAY,      _STAY,      _STAY,    _STAY),
    Trigger.REFUSED:         (_STAY,  _STAY,  _STAY,      _STAY,      _STAY,    _NONE),
    Trigger.SEEN:            (_STAY,  _STAY,  _STAY,      _STAY,      _STAY,    _STAY),
    Trigger.ASTERISK_LOST:   (_STAY,  _STAY,  _STAY,      _STAY,      _STAY,    _NONE),

    Trigger.CREATE_ASKED:    (_STAY,  _STAY,  _STAY,      _STAY,      _STAY,    _STAY),
    Trigger.HANGUP_ASKED:    (_STAY,  _STAY,  _STAY,      _STAY,      _STAY,    _ERROR),
    Trigger.DELETE_ASKED:    (_STAY,  _STAY,  _STAY,      _STAY,      _STAY,    _STAY),
    Trigger.FLOW_STOPPED:    (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),
    Trigger.MEDIA_START_ASKED: (_STAY, _STAY, _STAY,      _STAY,      _STAY,    _STAY),
    Trigger.MEDIA_STOP_ASKED:  (_STAY, _STAY, _STAY,      _STAY,      _STAY,    _STAY),
    Trigger.MEDIA_OWNER_GONE:  (_NONE, _NONE, _STAY,      _NONE,      _NONE,    _NONE),

    Trigger.ROUTE_SETTLED:   (_NONE,  _NONE,  _NONE,      _NONE,      _NONE,    _NONE),
    Trigger.ASTERISK_CHOSEN: (_STAY,  _NONE,  _NONE,      _NONE,      _NONE,    _NONE),
    Trigger.NO_ASTERISK:     (_HANG,  _NONE,  _NONE,      _NONE,      _NONE,    _NONE),
    Trigger.RUN_GIVEN:       (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),
    Trigger.RUN_REFUSED:     (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),
    Trigger.AUDIO_SETTLED:   (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),
    Trigger.MEDIA_SETTLED:   (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),

    Trigger.DIAL_OVERDUE:    (_STAY,  _STAY,  _NONE,      _NONE,      _NONE,    _NONE),
    Trigger.DURATION_OVER:   (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),
    Trigger.ACTION_DUE:      (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),
    Trigger.ASK_DUE:         (_NONE,  _STAY,  _STAY,      _NONE,      _NONE,    _NONE),
    Trigger.GONE_OVERDUE:    (_NONE,  _NONE,  _NONE,      _HANG,      _HANG,    _NONE),
    Trigger.MEDIA_DUE:       (_NONE,  _NONE,  _STAY,      _NONE,      _NONE,    _NONE),

    Trigger.GIVEN_UP:        (_CANC,  _CANC,  _ERROR,     _NONE,      _NONE,    _NONE),
    Trigger.ENDED:           (_ERROR, _TERM,  _TERM,      _NONE,      _NONE,    _NONE),
    Trigger.LOST:            (_HANG,  _HANG,  _HANG,      _HANG,      _HANG,    _NONE),
}
# fmt: on

STATUSES = (
    CallStatus.DIALING,
    CallStatus.RINGING,
    CallStatus.PROGRESSING,
    CallStatus.TERMINATING,
    CallStatus.CANCELING,
    CallStatus.HANGUP,
)

TRANSITIONS: Mapping[CallStatus, Mapping[Trigger, Cell]] = {
    status: {trigger: cells[column] for trigger, cells in _MATRIX.items()}
    for column, status in enumerate(STATUSES)
}
