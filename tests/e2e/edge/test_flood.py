"""A flood from one address is ended, and only that."""

import time

from tests.e2e.edge.peer import Silence, UdpPeer
from tests.e2e.edge.rig import PIKE_BLOCK_SECONDS, PIKE_REQUESTS, Rig, ping

FLOODER, NEIGHBOUR, CARRIER = 231, 232, 7
_FLOOD = 5 * PIKE_REQUESTS


def _flood(rig: Rig, peer: UdpPeer) -> int:
    """Send far too much, but no faster than it can be read; return how much was answered."""
    answered = 0
    for _ in range(_FLOOD):
        peer.send(peer.request("OPTIONS", f"sip:{rig.network.external_sip}"), rig.outside(1))
        answered += len(peer.heard(0.002))
    return answered + len(peer.heard(0.5))


def test_a_flooder_is_blocked_and_nobody_else(rig: Rig) -> None:
    us = rig.network.external_sip
    with rig.stranger(FLOODER) as flooder, rig.stranger(NEIGHBOUR) as neighbour:
        # Pike's tree notices an address only at its second level: at most three times the limit.
        assert 0 < _flood(rig, flooder) <= 3 * PIKE_REQUESTS
        assert flooder.heard(0.2) == []
        flooder.send(flooder.request("OPTIONS", f"sip:{us}"), rig.outside(1))
        assert flooder.heard(0.5) == []
        assert ping(neighbour, rig.outside(1), us).status == 200
        assert _wait_forgiven(rig, flooder)


def _wait_forgiven(rig: Rig, peer: UdpPeer) -> bool:
    until = time.monotonic() + 4 * PIKE_BLOCK_SECONDS
    while time.monotonic() < until:
        try:
            return ping(peer, rig.outside(1), rig.network.external_sip, 0.5).status == 200
        except Silence:
            continue
    return False


def test_a_carrier_may_send_as_much_as_it_likes(rig: Rig) -> None:
    with rig.carrier(CARRIER) as carrier:
        assert _flood(rig, carrier) == _FLOOD
