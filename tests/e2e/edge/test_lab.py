"""The edge of the running lab, through its load balancers."""

import pytest

from deploy.lab.lab import Lab
from tests.e2e.edge.messages import new_branch
from tests.e2e.edge.peer import UdpPeer
from tests.e2e.edge.rig import SIP, ping

_CARRIER, _STRANGER = 191, 251
# The dialplan knows no name of one character, so an Asterisk refuses this by itself, whatever the
# control plane does.
_NOBODY = "1"


@pytest.mark.parametrize("number", [_CARRIER, _STRANGER])
def test_pings_are_answered_everywhere(lab: Lab, number: int) -> None:
    network = lab.farm.network
    places = [network.external_sip]
    places += [network.kamailio_external(n) for n in range(1, lab.farm.settings.kamailio + 1)]
    with UdpPeer(network.address(9, number)) as peer:
        for place in places:
            assert ping(peer, (place, SIP), network.external_sip).status == 200, place


def test_a_stranger_may_not_call(lab: Lab) -> None:
    network = lab.farm.network
    with UdpPeer(network.address(9, _STRANGER)) as peer:
        text = peer.request("INVITE", f"sip:+15550100@{network.external_sip}", body=peer.offer())
        assert peer.ask(text, (network.external_sip, SIP)).status == 403


@pytest.mark.parametrize("attempt", range(8))
def test_a_refusal_by_asterisk_is_acknowledged_once(lab: Lab, attempt: int) -> None:
    """By way of every balancer; each attempt is a new flow, so both Kamailio and both Asterisk have their turn."""
    network = lab.farm.network
    balancer, uri = (network.external_sip, SIP), f"sip:{_NOBODY}@{network.external_sip}"
    with UdpPeer(network.address(9, _CARRIER)) as peer:
        call, branch = peer.new_call(uri), new_branch()
        answer = peer.ask(
            peer.request("INVITE", uri, call, branch=branch, body=peer.offer()), balancer
        )
        assert answer.status == 404
        ack = peer.request("ACK", uri, call, branch=branch)
        peer.send(ack.replace(f"To: {call.remote}", f"To: {answer.header('To')}"), balancer)
        # RFC 3261 §17.2.1: an Asterisk that had not got the ACK would say so again after 500 ms, and on.
        assert [again.status for again in peer.heard(0.8)] == []
