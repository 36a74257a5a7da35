"""Requests inside a dialog: by either Kamailio, straight to the Asterisk that owns it, and to nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.e2e.edge.messages import Call, Message, response, sdp, uri_of
from tests.e2e.edge.peer import Silence, UdpPeer
from tests.e2e.edge.rig import Rig


@contextmanager
def established(rig: Rig, client: UdpPeer, asterisk: UdpPeer) -> Iterator[Call]:
    """A call that came by Kamailio 1 and was answered by this Asterisk; as the client sees it."""
    with rig.asterisk_balancer() as farm:
        call = client.new_call(rig.new_uri())
        client.send(
            client.request("INVITE", rig.new_uri(), call, body=client.offer()), rig.outside(1)
        )
        invite, _ = farm.receive()
        answer = sdp(asterisk.address[0], 10_000, ("0", "101"))
        farm.send(response(200, "OK", invite, asterisk.contact, answer), rig.inside(1))
        ok, _ = client.receive()
    yield replace(
        call,
        remote=ok.header("To"),
        routes=tuple(reversed(ok.headers("Record-Route"))),
        target=ok.contact_uri,
    )


def as_asterisk(asterisk: UdpPeer, call: Call, client: UdpPeer) -> Call:
    """The same dialog from the other end."""
    return Call(
        local=call.remote,
        remote=call.local,
        call_id=call.call_id,
        routes=tuple(reversed(call.routes)),
        target=uri_of(client.contact),
    )


@pytest.mark.parametrize("kamailio", [1, 2])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "BYE", "INFO", "ACK", "OPTIONS"])
def test_goes_straight_to_its_asterisk(rig: Rig, kamailio: int, method: str) -> None:
    with (
        rig.carrier() as client,
        rig.asterisk(2) as asterisk,
        established(rig, client, asterisk) as call,
    ):
        client.send(client.request(method, call.target, call, cseq=2), rig.outside(kamailio))
        received, sender = asterisk.receive()
        assert received.method == method
        assert received.headers("Route") == []
        assert sender == rig.inside(kamailio)
        if method != "ACK":
            # Its answer may go by the other one.
            asterisk.send(response(200, "OK", received), rig.inside(3 - kamailio))
            assert client.receive()[0].status == 200


@pytest.mark.parametrize("kamailio", [1, 2])
def test_media_of_a_new_offer_is_relayed(rig: Rig, kamailio: int) -> None:
    with (
        rig.carrier() as client,
        rig.asterisk(1) as asterisk,
        established(rig, client, asterisk) as call,
    ):
        offer = client.offer(("8", "101"))
        client.send(
            client.request("INVITE", call.target, call, cseq=2, body=offer), rig.outside(kamailio)
        )
        invite, _ = asterisk.receive()
        answer = sdp(asterisk.address[0], 10_000, ("0", "101"))
        asterisk.send(response(200, "OK", invite, body=answer), rig.inside(kamailio))
        ok, _ = client.receive()
    assert invite.media[0] in rig.media_inside
    assert invite.media[2] == ["0", "101"]
    assert ok.media[0] in rig.media_outside
    assert ok.media[2] == ["8", "101"]


def test_a_refused_offer_leaves_the_media_as_it_was(rig: Rig) -> None:
    with (
        rig.carrier() as client,
        rig.asterisk(1) as asterisk,
        established(rig, client, asterisk) as call,
    ):
        ports = []
        for status, reason in ((488, "Not Acceptable Here"), (200, "OK")):
            text = client.request("INVITE", call.target, call, cseq=2, body=client.offer())
            client.send(text, rig.outside(1))
            invite, _ = asterisk.receive()
            ports.append(invite.media[1])
            answer = sdp(asterisk.address[0], 10_000) if status == 200 else ""
            asterisk.send(response(status, reason, invite, body=answer), rig.inside(1))
            assert client.receive()[0].status == status
    assert ports[0] == ports[1]


@pytest.mark.parametrize("kamailio", [1, 2])
def test_asterisk_reaches_the_client_by_either(rig: Rig, kamailio: int) -> None:
    with (
        rig.carrier() as client,
        rig.asterisk(1) as asterisk,
        established(rig, client, asterisk) as call,
    ):
        dialog = as_asterisk(asterisk, call, client)
        text = asterisk.request("BYE", dialog.target, dialog).replace(";rport", "")
        asterisk.send(text, rig.inside(kamailio))
        bye, sender = client.receive()
        assert bye.headers("Route") == []
        assert sender == rig.outside(kamailio)
        assert bye.header("Via").startswith(f"SIP/2.0/UDP {rig.network.external_sip}:5060;")
        client.send(response(200, "OK", bye), rig.outside(3 - kamailio))
        assert asterisk.receive()[0].status == 200


def test_internal_headers_do_not_leave(rig: Rig) -> None:
    with (
        rig.carrier() as client,
        rig.asterisk(1) as asterisk,
        established(rig, client, asterisk) as call,
    ):
        dialog = as_asterisk(asterisk, call, client)
        secrets = ("X-Evercall-Call: secret", "VB-CALL-ID: secret", "VBOUT-CODECS: secret")
        asterisk.send(asterisk.request("INFO", dialog.target, dialog, extra=secrets), rig.inside(1))
        assert "secret" not in client.receive()[0].text


def _forged(rig: Rig, peer: UdpPeer, method: str, uri: str, routes: tuple[str, ...]) -> Message:
    call = replace(peer.new_call(rig.new_uri()), routes=routes)
    call = replace(call, remote=call.remote + ";tag=forged")
    body = peer.offer() if method == "INVITE" else ""
    return peer.ask(peer.request(method, uri, call, body=body), rig.outside(1))


@pytest.mark.parametrize("method", ["INVITE", "BYE", "INFO"])
def test_a_forged_route_leads_nowhere_else(rig: Rig, method: str) -> None:
    network = rig.network
    us = f"<sip:{network.external_sip};lr>"
    victim = network.address(9, 77)
    with (
        rig.stranger() as peer,
        UdpPeer(victim, 5060) as outside,
        rig.asterisk_balancer() as farm,
    ):
        for uri, routes in (
            (f"sip:x@{victim}", (us,)),
            (f"sip:x@{network.internal_asterisk}", (us,)),
            (f"sip:x@{network.asterisk_call(1)}", (us, f"<sip:{victim};lr>")),
            (f"sip:x@{network.asterisk_call(1)}", (f"<sip:{victim};lr>",)),
        ):
            assert _forged(rig, peer, method, uri, routes).status == 403, (uri, routes)
        assert outside.heard(0.2) == []
        assert farm.heard(0.1) == []


def test_a_request_without_our_route_is_of_no_dialog(rig: Rig) -> None:
    with rig.stranger() as peer:
        uri = f"sip:x@{rig.network.asterisk_call(1)}"
        assert _forged(rig, peer, "BYE", uri, ()).status == 481
        assert _forged(rig, peer, "BYE", rig.new_uri(), ()).status == 481


def test_a_strangers_ack_reaches_nobody(rig: Rig) -> None:
    with rig.stranger() as peer, rig.asterisk_balancer() as farm:
        call = peer.new_call(rig.new_uri())
        call = replace(call, remote=call.remote + ";tag=x")
        peer.send(peer.request("ACK", rig.new_uri(), call), rig.outside(1))
        with pytest.raises(Silence):
            farm.receive(0.3)
