"""How an incoming call begins: a channel enters Stasis, the called number leads to a customer and a flow.

Until the route is known there is no call for anybody to see: the state has no customer. If there is no
route, it ends so, and `store.forget_unrouted` removes it.
"""

from datetime import datetime

from call_manager.domain.addresses import caller_address, e164
from call_manager.domain.call import CallState, Leg
from call_manager.domain.flow import start_flow
from call_manager.domain.messages import ChannelGone, StasisStarted
from call_manager.domain.ports import ROUTES, AdmitIncoming
from call_manager.domain.stray import hang_up_stray
from call_manager.domain.transitions import Trigger
from call_manager.domain.turn import Timer, Turn
from evercall.actor.model import Answered, Ask, Decision, Failed
from evercall.ari.commands import Cause
from evercall.contracts.base import Address, AddressType, ErrorData, Message
from evercall.contracts.call import CallStatus, Direction
from evercall.contracts.route import InboundRoute

CONTEXT = "call-in"
"""The dialplan context that incoming calls enter by."""


def enter(message: StasisStarted, now: datetime) -> Decision[CallState]:
    """A channel entered Stasis that belongs to no call yet."""
    number = e164(message.arguments.get("destination", ""))
    if message.arguments.get("context") != CONTEXT or number is None:
        return Decision(None, hang_up_stray(message.call_id, message, Cause.UNALLOCATED))
    call = CallState(
        id=message.call_id,
        direction=Direction.INCOMING,
        source=_source(message),
        destination=Address(type=AddressType.TEL, target=number),
        status=CallStatus.RINGING,
        leg=Leg(
            asterisk_id=message.asterisk_id,
            boot_id=message.boot_id,
            channel_id=message.channel_id,
            sip_call_id=message.arguments.get("sip_call_id", ""),
            source_ip=message.arguments.get("source", ""),
            seen=True,
        ),
        tm_create=min(message.at, now),
        tm_ringing=min(message.at, now),
        tm_update=now,
    )
    return Decision(call, (Ask("route", ROUTES, AdmitIncoming(call_id=call.id, number=number)),))


def look_for_route(turn: Turn, message: Message) -> None:
    """Something happened while the called number was looked up."""
    match message:
        case Answered(key="route", body=InboundRoute() as route):
            _admit(turn, route)
        case Failed(key="route", error=error):
            turn.add(*hang_up_stray(turn.call.id, turn.leg, _cause_of(error)))
            turn.move(Trigger.GONE)
        case ChannelGone(channel_id=channel_id) if channel_id == turn.leg.channel_id:
            turn.settle("route")
            turn.move(Trigger.GONE)


def _admit(turn: Turn, route: InboundRoute) -> None:
    turn.change(customer_id=route.customer_id, flow_id=route.flow_id)
    start_flow(turn)
    turn.set_timer(Timer.DURATION, turn.rules.longest_duration)
    turn.publish("created")


def _cause_of(error: ErrorData) -> Cause:
    # 34 becomes a 503: whoever sends the call may try again, here or elsewhere.
    return _CAUSES.get(error.code, Cause.CONGESTION)


_CAUSES = {
    "route_not_found": Cause.UNALLOCATED,  # 404
    "quota_exceeded": Cause.USER_BUSY,  # 486: all lines of the customer are taken
    "account_frozen": Cause.NO_ANSWER,  # 480: the number is there, and takes no calls now
}


def _source(message: StasisStarted) -> Address:
    host = message.arguments.get("source", "")
    return caller_address(message.caller_number, message.caller_name, host)
