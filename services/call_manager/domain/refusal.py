"""What a refused command means for its call. Status 404 says most: the channel is gone, and its hangup
has not reached us yet, or never will.

Status 0 (no answer came) proves nothing: what was commanded may have happened. Timers bound the wait, and
the snapshot after the gap (`resync`) repeats what bears repeating.
"""

from call_manager.domain import media
from call_manager.domain.call import Waiting
from call_manager.domain.ending import finish, hang_up
from call_manager.domain.messages import CommandRefused
from call_manager.domain.run import done
from call_manager.domain.transitions import Trigger
from call_manager.domain.turn import Turn
from evercall.contracts.call import CallStatus, HangupReason

NO_ANSWER = 0
NOT_FOUND = 404
CONFLICT = 409


def refused(turn: Turn, message: CommandRefused) -> None:
    """Asterisk refused a command of this call."""
    if message.status == NO_ANSWER:
        return
    name, _, place = message.key.partition(".")
    if name.startswith("media-"):
        media.refused(turn, name, place, message.status)
        return
    match name:
        case "create":
            _create_refused(turn, message.status)
        case "answer" | "hangup" | "play" | "look" if message.status == NOT_FOUND:
            finish(turn, Trigger.GONE)
        case "answer":
            hang_up(turn, HangupReason.FAILED)
        case "play":
            _play_refused(turn, place)
        case _:
            # A playback that was stopped too late, a ringing that came too late: nothing is owed.
            return


def _create_refused(turn: Turn, status: int) -> None:
    if status == CONFLICT:
        # The command was repeated, and the channel is there already.
        turn.settle("create")
        return
    dialing = turn.call.status is CallStatus.DIALING
    finish(turn, Trigger.NO_ASTERISK if dialing else Trigger.GONE)


def _play_refused(turn: Turn, place: str) -> None:
    work = turn.call.work
    if work is None or work.waiting is not Waiting.PLAYBACK:
        return
    if place == work.place:
        done(turn)
