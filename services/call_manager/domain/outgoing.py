"""How an outgoing call begins: an Asterisk is chosen, it dials, the far end rings, answers, or does not."""

from datetime import datetime, timedelta

from call_manager.domain.addresses import (
    WITHHELD_ID,
    WITHHELD_VARIABLES,
    caller_id,
    dialable_uri,
    is_withheld,
)
from call_manager.domain.call import CallState, Leg, to_resource
from call_manager.domain.ending import finish
from call_manager.domain.ports import FARM, ChooseAsterisk, ChosenAsterisk
from call_manager.domain.stray import hang_up_stray
from call_manager.domain.transitions import Trigger
from call_manager.domain.turn import APPLICATION, Rules, Timer, Turn, floor_of
from evercall.actor.model import Ask, Decision, Reply, ReplyError
from evercall.ari import commands
from evercall.contracts.call import CallCreate, CallStatus, Direction
from evercall.service.errors import InvalidRequest

CONTEXT = "call-out"
"""Stasis argument of channels that we made."""

ENDPOINT = "PJSIP/call-out"
"""As in asterisk/templates/pjsip.conf.j2."""

ASTERISK_PATIENCE = timedelta(seconds=5)
"""Asterisk gives up dialing this long after we should have: for the case that we are away then."""

MOST_TRIED = 3
"""Asterisks that a call is tried on."""


def create(rules: Rules, request: CallCreate, now: datetime) -> Decision[CallState]:
    """Somebody wants a call to be placed."""
    try:
        dialable_uri(request.destination)
    except InvalidRequest as error:
        return Decision(None, (ReplyError(error),))
    call = CallState(
        id=request.id,
        customer_id=request.customer_id,
        flow_id=request.flow_id,
        direction=Direction.OUTGOING,
        source=request.source,
        destination=request.destination,
        variables=request.variables,
        withheld=is_withheld(request.anonymous, request.source),
        status=CallStatus.DIALING,
        tm_create=now,
        tm_update=now,
    )
    turn = Turn(rules, call, now)
    _choose(turn)
    turn.set_timer(Timer.DIAL, rules.dial_timeout)
    turn.publish("created")
    turn.add(Reply(to_resource(turn.call)))
    return turn.decision()


def dial(turn: Turn, chosen: ChosenAsterisk) -> None:
    """The Asterisk is known: it dials."""
    call = turn.call
    if call.leg is not None:
        return
    channel_id = f"{call.id}.{len(call.tried) + 1}"
    turn.change(
        leg=Leg(asterisk_id=chosen.asterisk_id, boot_id=chosen.boot_id, channel_id=channel_id)
    )
    timeout = turn.rules.dial_timeout + ASTERISK_PATIENCE
    turn.command(
        commands.originate(
            call.id,
            "create",
            channel_id,
            f"{ENDPOINT}/{dialable_uri(call.destination)}",
            app=APPLICATION,
            app_args=f"context={CONTEXT}",
            caller_id=WITHHELD_ID if call.withheld else caller_id(call.source),
            timeout=int(timeout.total_seconds()),
            variables={
                "CALL_ID": str(call.id),
                **floor_of(turn.rules),
                **(WITHHELD_VARIABLES if call.withheld else {}),
            },
        )
    )


def dial_elsewhere(turn: Turn) -> None:
    """The Asterisk that was told to dial did not hear it: another one is to. Should it have heard all the same
    (the command may have been sent twice), its channel goes."""
    call, leg = turn.call, turn.leg
    turn.settle("create")
    if len(call.tried) + 1 >= MOST_TRIED:
        finish(turn, Trigger.NO_ASTERISK)
        return
    turn.add(*hang_up_stray(call.id, leg))
    tried = ChosenAsterisk(asterisk_id=leg.asterisk_id, boot_id=leg.boot_id)
    turn.change(leg=None, tried=[*call.tried, tried])
    _choose(turn)


def _choose(turn: Turn) -> None:
    request = ChooseAsterisk(call_id=turn.call.id, tried=turn.call.tried)
    turn.add(Ask("asterisk", FARM, request))


def rang(turn: Turn, at: datetime) -> None:
    """The far end rings."""
    turn.move(Trigger.RANG)
    turn.change_leg(seen=True)
    turn.change(tm_ringing=turn.not_later(at))
    turn.settle("create")
    turn.publish("ringing")
