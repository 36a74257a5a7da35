"""What anybody may have of the edge: connections, calls per second, media ports; and where calls do not lead."""

import time

import pytest

from tests.e2e.edge.messages import Call, response
from tests.e2e.edge.peer import Silence, TcpPeer, UdpPeer
from tests.e2e.edge.rig import (
    CARRIER_INVITES,
    MAX_SESSIONS,
    TCP_CONNECTIONS,
    TCP_IDLE_SECONDS,
    Rig,
    ask_rtpengine,
    ping,
)

# A worker holds a connection for five seconds before its lifetime begins, and a timer looks now and then.
_SLACK_SECONDS = 20.0
_CARRIER, _BUSY_CARRIER, _STRANGER = 8, 9, 236


def _closed(peer: TcpPeer, within: float) -> bool:
    try:
        peer.receive(within)
    except Silence as silence:
        return "closed" in str(silence) or "reset" in str(silence)
    return False


def test_one_address_has_so_many_connections(rig: Rig) -> None:
    host = rig.network.address(9, _STRANGER)
    peers = [TcpPeer(host, rig.outside(1)) for _ in range(3 * TCP_CONNECTIONS)]
    try:
        kept = [peer for peer in peers if not _closed(peer, 0.1)]
        assert 0 < len(kept) <= TCP_CONNECTIONS
        with TcpPeer(rig.network.address(9, _CARRIER), rig.outside(1)) as other:
            text = other.request("OPTIONS", f"sip:{rig.network.external_sip}")
            assert other.ask(text).status == 200
    finally:
        for peer in peers:
            peer.link.close()


def test_a_stranger_that_is_silent_is_closed_and_a_carrier_is_not(rig: Rig) -> None:
    uri = f"sip:{rig.network.external_sip}"
    with (
        TcpPeer(rig.network.address(9, _STRANGER), rig.outside(2)) as stranger,
        TcpPeer(rig.network.address(9, _CARRIER), rig.outside(2)) as carrier,
    ):
        for peer in (stranger, carrier):
            assert peer.ask(peer.request("OPTIONS", uri)).status == 200
        assert _closed(stranger, TCP_IDLE_SECONDS + _SLACK_SECONDS)
        assert carrier.ask(carrier.request("OPTIONS", uri)).status == 200


def test_a_message_that_does_not_come_to_an_end(rig: Rig) -> None:
    """A byte now and then keeps a connection for five seconds and no longer."""
    with TcpPeer(rig.network.address(9, _CARRIER), rig.outside(1)) as slow:
        until = time.monotonic() + 12.0
        slow.send("OPTIONS ")
        while not _closed(slow, 0.5):
            assert time.monotonic() < until, "it may go on for ever"
            slow.send("x")


def test_a_carrier_has_so_many_calls_per_second(rig: Rig) -> None:
    with rig.carrier(_BUSY_CARRIER) as busy, rig.carrier(_CARRIER) as other:
        texts = [
            busy.request("INVITE", rig.new_uri(), busy.new_call(rig.new_uri()))
            for _ in range(3 * CARRIER_INVITES)
        ]
        for number, text in enumerate(texts):
            busy.send(text, rig.outside(1))
            if number % 50 == 0:
                time.sleep(0.005)  # no faster than it can be read
        with rig.asterisk_balancer() as farm:
            other.send(other.request("INVITE", rig.new_uri()), rig.outside(1))
            assert any(message.header("Call-ID") for message in farm.heard(0.5)), (
                "another carrier does not get through"
            )
        refused = [message for message in busy.heard(0.5) if message.status == 503]
    assert refused
    assert {message.header("Retry-After") for message in refused} == {"1"}


def test_a_full_media_relay_says_so(rig: Rig) -> None:
    """By max-sessions, before ports run out; who is up keeps what it has."""
    with UdpPeer(rig.network.internal_kamailio) as us, rig.carrier() as client:
        offer = client.offer(("0",))
        full = [f"full-{number}" for number in range(MAX_SESSIONS)]

        def tell(command: str, call: str, sdp: str = "") -> None:
            more = f"3:sdp{len(sdp)}:{sdp}" if sdp else "12:delete-delayi0e"
            text = f"d7:call-id{len(call)}:{call}7:command{len(command)}:{command}"
            for node in (1, 2):
                address = rig.network.rtpengine_external(node)
                ask_rtpengine(us, address, f"{text}8:from-tag1:a{more}e")

        try:
            for call in full:
                tell("offer", call, offer)
            answer = client.ask(
                client.request("INVITE", rig.new_uri(), body=client.offer()), rig.outside(1)
            )
            assert answer.status == 503
            assert answer.header("Retry-After") == "2"
        finally:
            for call in full:
                tell("delete", call)
        with rig.asterisk_balancer() as farm:
            client.send(
                client.request("INVITE", rig.new_uri(), body=client.offer()), rig.outside(1)
            )
            assert farm.receive()[0].media[0] in rig.media_inside


@pytest.mark.parametrize(
    "uri",
    [
        "sip:+882161234567@{carrier}",
        "sip:+882161234567@{carrier}:5060;transport=tcp",
        "sip:x@169.254.169.254:80;transport=tcp",
        "sip:x@127.0.0.1",
        "sip:x@10.1.2.3",
        "sip:x@192.168.1.1",
    ],
)
def test_a_new_call_does_not_leave_for(rig: Rig, uri: str) -> None:
    with rig.asterisk() as asterisk:
        uri = uri.format(carrier=rig.network.address(9, _CARRIER))
        text = asterisk.request("INVITE", uri, body=asterisk.offer()).replace(";rport", "")
        assert asterisk.ask(text, rig.inside(1)).status == 403


def test_a_carrier_is_reached_within_its_call(rig: Rig) -> None:
    with rig.asterisk() as asterisk, rig.carrier() as carrier:
        uri = f"sip:peer@{carrier.address[0]}:{carrier.address[1]}"
        call = Call("<sip:us@example.test>;tag=a", f"<{uri}>;tag=b")
        asterisk.send(asterisk.request("BYE", uri, call).replace(";rport", ""), rig.inside(1))
        bye, _ = carrier.receive()
        carrier.send(response(200, "OK", bye), rig.outside(2))
        assert asterisk.receive()[0].status == 200


def test_a_new_call_does_not_follow_an_alias(rig: Rig) -> None:
    with rig.asterisk() as asterisk, rig.stranger() as callee, rig.stranger(237) as victim:
        alias = f"{victim.address[0]}~{victim.address[1]}~1"
        uri = f"sip:x@{callee.address[0]}:{callee.address[1]};alias={alias}"
        asterisk.send(asterisk.request("INVITE", uri).replace(";rport", ""), rig.inside(1))
        assert callee.receive()[0].method == "INVITE"
        assert victim.heard(0.1) == []
        assert ping(callee, rig.outside(1), rig.network.external_sip).status == 200
