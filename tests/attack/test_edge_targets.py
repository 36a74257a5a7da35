"""Where calls by SIP URI do not lead, whatever the API thinks of them; and what a header may not hold."""

import asyncio
import socket
from contextlib import ExitStack

import pytest

from deploy.lab.lab import Lab
from deploy.lab.network import SIP_PORT
from tests.attack.conftest import Bystander
from tests.e2e.edge.peer import UdpPeer
from tests.support.rest import ENDED, Customer, Problem, action

_CARRIER = 150


@pytest.mark.parametrize(
    "target",
    [
        "sip:+882161234567@{carrier}",
        "sip:+882161234567@{carrier};maddr={carrier}",
        "sip:x@{carrier}:5060;transport=tcp",
        "sip:x@{service}:9100;transport=tcp",
        "sip:x@169.254.169.254:80;transport=tcp",
        "sip:x@{stranger};alias={service}~9100~2",
    ],
)
async def test_a_call_does_not_lead_to(
    platform: Lab, bystander: Bystander, customer: Customer, target: str
) -> None:
    network = platform.farm.network
    carrier, service = network.address(9, _CARRIER), network.address(4, 250)
    uri = target.format(carrier=carrier, service=service, stranger=network.address(9, 250))
    with ExitStack() as stack:
        by_udp = stack.enter_context(UdpPeer(carrier, SIP_PORT))
        listeners = [
            stack.enter_context(socket.create_server(place))
            for place in ((carrier, SIP_PORT), (service, 9100))
        ]
        async with bystander.unharmed():
            try:
                call = await customer.place_call(uri, action("hangup"))
            except Problem as refused:
                assert refused.status in (400, 403)  # noqa: PT017
            else:
                await customer.until(call["id"], lambda told: bool(told["status"] == ENDED), 20.0)
        assert await asyncio.to_thread(by_udp.heard, 0.1) == []
        for listener in listeners:
            listener.settimeout(0.01)
            with pytest.raises(TimeoutError):
                listener.accept()


async def test_no_header_is_smuggled_past_the_edge(platform: Lab, bystander: Bystander) -> None:
    """To PJSIP a CR alone ends a header; what follows would be one that only the edge may write."""
    network = platform.farm.network
    uri = f"sip:+15550100@{network.external_sip}"
    smuggled = ("Subject: x\rX-Evercall-Source: 192.0.2.1",)
    async with bystander.unharmed():
        with UdpPeer(network.address(9, _CARRIER)) as carrier:
            text = carrier.request("INVITE", uri, extra=smuggled, body=carrier.offer())
            answer = await asyncio.to_thread(carrier.ask, text, (network.external_sip, SIP_PORT))
    assert answer.status == 400
