"""Resources as services would answer with them."""

from datetime import UTC, datetime
from typing import Any

from evercall.contracts.base import Address, AddressType
from evercall.contracts.call import Call, CallCreate, CallStatus, Direction
from evercall.contracts.flow import Flow, FlowCreate, FlowDelete, FlowGet
from evercall.contracts.route import Number, NumberCreate

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def flow(request: FlowCreate | FlowGet | FlowDelete) -> Flow:
    return Flow(
        id=request.id, customer_id=request.customer_id, actions=[], tm_create=NOW, tm_update=NOW
    )


def number(request: NumberCreate) -> Number:
    return Number(
        id=request.id,
        customer_id=request.customer_id,
        number=request.number,
        tm_create=NOW,
        tm_update=NOW,
    )


def call(request: CallCreate | Any) -> Call:
    alice = Address(type=AddressType.SIP, target="sip:alice@192.0.2.10")
    return Call(
        id=request.id,
        customer_id=request.customer_id,
        source=getattr(request, "source", alice),
        destination=getattr(request, "destination", alice),
        status=CallStatus.DIALING,
        direction=Direction.OUTGOING,
        tm_create=NOW,
        tm_update=NOW,
    )
