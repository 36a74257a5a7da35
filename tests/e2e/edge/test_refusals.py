"""What the edge answers by itself: pings, strangers, methods and targets that it does not serve."""

import pytest

from tests.e2e.edge.messages import Message
from tests.e2e.edge.peer import UdpPeer
from tests.e2e.edge.rig import DOMAIN, Rig, ping

CARRIER, STRANGER = 5, 250
ALLOWED = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE"


def _ask(rig: Rig, number: int, method: str, uri: str) -> Message:
    with UdpPeer(rig.network.address(9, number)) as peer:
        return peer.ask(peer.request(method, uri), rig.outside(1))


@pytest.mark.parametrize("kamailio", [1, 2])
def test_a_ping_is_answered_on_both_sides(rig: Rig, kamailio: int) -> None:
    network = rig.network
    with rig.stranger() as peer:
        answer = ping(peer, rig.outside(kamailio), network.external_sip)
    assert answer.status == 200
    assert answer.header("Allow") == ALLOWED
    with rig.asterisk() as asterisk:
        assert ping(asterisk, rig.inside(kamailio), network.internal_kamailio).status == 200


def test_a_ping_of_somebody_else_is_not(rig: Rig) -> None:
    assert _ask(rig, STRANGER, "OPTIONS", "sip:192.0.2.1").status == 404


def test_a_stranger_may_not_call(rig: Rig) -> None:
    answer = _ask(rig, STRANGER, "INVITE", rig.new_uri())
    assert answer.status == 403
    # Nor is he told what to attack.
    assert answer.headers("Server") == []


@pytest.mark.parametrize("number", [CARRIER, STRANGER])
@pytest.mark.parametrize(
    "method", ["REGISTER", "MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REFER", "HELLO", "invite"]
)
def test_a_method_that_is_not_served(rig: Rig, number: int, method: str) -> None:
    answer = _ask(rig, number, method, rig.new_uri())
    assert (answer.status, answer.header("Allow")) == (405, ALLOWED)


@pytest.mark.parametrize("method", ["BYE", "INFO", "PRACK", "UPDATE"])
def test_a_method_that_needs_a_dialog(rig: Rig, method: str) -> None:
    assert _ask(rig, CARRIER, method, rig.new_uri()).status == 481


def test_a_strangers_cancel_finds_nothing(rig: Rig) -> None:
    assert _ask(rig, STRANGER, "CANCEL", rig.new_uri()).status == 481


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("sip:+15550100@192.0.2.1", 404),
        ("sip:+15550100@elsewhere.example.test", 404),
        ("sip:{us}", 404),
        ("sips:+15550100@{us}", 416),
        ("http://{us}/", 400),
        ("+15550100", 400),
    ],
)
def test_a_target_that_is_not_ours(rig: Rig, uri: str, status: int) -> None:
    uri = uri.format(us=rig.network.external_sip, domain=DOMAIN)
    assert _ask(rig, CARRIER, "INVITE", uri).status == status


def test_a_route_beyond_us_is_not_followed(rig: Rig) -> None:
    with rig.carrier() as peer, UdpPeer(rig.network.address(9, 77), 5060) as beyond:
        route = f"Route: <sip:{rig.network.external_sip};lr>, <sip:{beyond.address[0]};lr>"
        text = peer.request("INVITE", rig.new_uri(), extra=(route,), body=peer.offer())
        assert peer.ask(text, rig.outside(1)).status == 403
        assert beyond.heard(0.2) == []


def test_hops_run_out(rig: Rig) -> None:
    with rig.carrier() as peer:
        text = peer.request("INVITE", rig.new_uri(), body=peer.offer())
        text = text.replace("Max-Forwards: 70", "Max-Forwards: 0")
        assert peer.ask(text, rig.outside(1)).status == 483
