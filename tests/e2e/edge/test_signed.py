"""What the edge has signed is let in, and nothing else: requests in dialogs, and answers."""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.e2e.edge.messages import CRLF, Call, Message, parameter, response, sdp, uri_of
from tests.e2e.edge.peer import UdpPeer
from tests.e2e.edge.rig import DIALOG_KEYS, DIALOG_REQUESTS, Rig, media_calls
from tests.e2e.edge.test_dialog import established


def _signature(key: str, call_id: str, tag: str) -> str:
    """Of a dialog that somebody outside began."""
    said = f"do{len(call_id)}:{call_id}{tag}"
    digest = hmac.new(key.encode(), said.encode(), hashlib.sha256).digest()
    return "o" + base64.urlsafe_b64encode(digest).decode()[:22]


def _route(rig: Rig, signature: str) -> tuple[str, ...]:
    balancers = (rig.network.external_sip, rig.network.internal_kamailio)
    return tuple(f"<sip:{address}:5060;r2=on;lr;sg={signature}>" for address in balancers)


@contextmanager
def _called(rig: Rig, asterisk: UdpPeer, callee: UdpPeer) -> Iterator[tuple[Message, Call]]:
    """A call that an Asterisk has made: the INVITE as the callee got it, and the dialog as it sees it."""
    uri = f"sip:bob@{callee.address[0]}:{callee.address[1]}"
    call = Call(local="<sip:a@example.test>;tag=asterisk", remote=f"<{uri}>")
    text = asterisk.request("INVITE", uri, call, body=asterisk.offer(("0", "101")))
    asterisk.send(text.replace(";rport", ""), rig.inside(1))
    invite, _ = callee.receive()
    yield (
        invite,
        Call(
            local=f"{call.remote};tag=callee",
            remote=call.local,
            call_id=call.call_id,
            routes=tuple(invite.headers("Record-Route")),
            target=invite.contact_uri,
        ),
    )


@pytest.mark.parametrize("key", DIALOG_KEYS)
def test_a_signature_by_any_of_the_keys_is_accepted(rig: Rig, key: str) -> None:
    with rig.carrier() as client, rig.asterisk() as asterisk:
        call = client.new_call(rig.new_uri())
        dialog = replace(
            call,
            remote=call.remote + ";tag=farm",
            routes=_route(rig, _signature(key, call.call_id, "local")),
        )
        client.send(client.request("BYE", uri_of(asterisk.contact), dialog), rig.outside(1))
        assert asterisk.receive()[0].method == "BYE"


def test_the_first_key_signs(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk() as asterisk:
        with established(rig, client, asterisk) as call:
            signed = parameter(call.routes[0].strip("<>"), "sg")
        assert signed == _signature(DIALOG_KEYS[0], call.call_id, "local")


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "BYE", "INFO", "ACK"])
@pytest.mark.parametrize("forged", ["key", "call_id", "tag", "began", "nothing"])
def test_a_dialog_that_we_did_not_sign(rig: Rig, forged: str, method: str) -> None:
    with (
        rig.carrier() as client,
        rig.asterisk() as asterisk,
        established(rig, client, asterisk) as call,
    ):
        signed = _signature(DIALOG_KEYS[0], call.call_id, "local")
        strange = {
            "key": replace(call, routes=_route(rig, _signature("another", call.call_id, "local"))),
            "call_id": replace(call, call_id="another@example.test"),
            "tag": replace(call, local=call.local.replace("tag=local", "tag=another")),
            "began": replace(call, routes=_route(rig, "i" + signed[1:])),
            "nothing": replace(call, routes=_route(rig, "")),
        }[forged]
        before = media_calls(rig)
        assert call.call_id in before
        body = client.offer() if method in ("INVITE", "UPDATE", "ACK") else ""
        text = client.request(method, call.target, strange, cseq=2, body=body)
        if method == "ACK":
            client.send(text, rig.outside(1))
        else:
            assert client.ask(text, rig.outside(1)).status == 403
        assert asterisk.heard(0.1) == []
        assert media_calls(rig) == before


def test_the_same_dialog_is_let_in_after_all_that(rig: Rig) -> None:
    """The counterpart of the test before: only the signature makes the difference."""
    with (
        rig.carrier() as client,
        rig.asterisk() as asterisk,
        established(rig, client, asterisk) as call,
    ):
        client.send(client.request("BYE", call.target, call, cseq=2), rig.outside(2))
        assert asterisk.receive()[0].method == "BYE"
        assert call.call_id not in media_calls(rig)


def _answer(invite: Message, callee: UdpPeer) -> str:
    return response(200, "OK", invite, callee.contact, callee.offer(("8", "101")))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("another call", "Call-ID: ", "Call-ID: x"),
        ("another transaction", "CSeq: 1 ", "CSeq: 2 "),
        ("another caller", "tag=asterisk", "tag=another"),
        ("another place", ".3.1:", ".3.2:"),
        ("a place behind it", "branch=z9hG4bK", "received=127.219.3.2;branch=z9hG4bK"),
        ("another offer", ";ev=is.", ";ev=il."),
        ("no signature", ";ev=is.", ";ev=is;x="),
    ],
)
def test_an_answer_that_is_not_to_what_we_sent(rig: Rig, name: str, old: str, new: str) -> None:
    with rig.asterisk() as asterisk, rig.asterisk(2) as other, rig.stranger() as callee:
        with _called(rig, asterisk, callee) as (invite, _):
            text = _answer(invite, callee)
        first, vias, rest = text.partition("Via: ")
        forged = first + vias + rest.replace(old, new)
        assert forged != text, name
        before = media_calls(rig)
        callee.send(forged, rig.outside(1))
        assert [asterisk.heard(0.2), other.heard(0.1)] == [[], []]
        assert media_calls(rig) == before
        callee.send(text, rig.outside(2))
        assert asterisk.receive()[0].status == 200


def test_an_answer_with_a_third_via(rig: Rig) -> None:
    with rig.asterisk() as asterisk, rig.stranger() as callee:
        with _called(rig, asterisk, callee) as (invite, _):
            text = _answer(invite, callee)
        third = f"Via: SIP/2.0/UDP {callee.address[0]};branch=z9hG4bK3{CRLF}From:"
        callee.send(text.replace("From:", third, 1), rig.outside(1))
        assert asterisk.heard(0.3) == []


def test_a_party_takes_no_more_ports_than_two_ends_need(rig: Rig) -> None:
    """Whatever it writes into From: to RTPEngine a call has an outside and an inside."""
    with rig.asterisk() as asterisk, rig.stranger() as callee:
        with _called(rig, asterisk, callee) as (invite, dialog):
            callee.send(_answer(invite, callee), rig.outside(1))
            assert asterisk.receive()[0].status == 200
        ports = set()
        for number in range(DIALOG_REQUESTS // 2):
            strange = replace(dialog, local=f"<sip:bob@example.test>;tag=x{number}")
            text = callee.request(
                "INVITE", uri_of(asterisk.contact), strange, cseq=number + 2, body=callee.offer()
            )
            callee.send(text, rig.outside(1))
            ports.add(asterisk.receive()[0].media[:2])
        assert len(ports) == 1


def test_a_party_is_limited_by_its_dialog(rig: Rig) -> None:
    with (
        rig.carrier() as client,
        rig.asterisk() as asterisk,
        established(rig, client, asterisk) as call,
    ):
        for number in range(5 * DIALOG_REQUESTS):
            client.send(client.request("INFO", call.target, call, cseq=number + 2), rig.outside(1))
        # A flood may lie in two of the seconds in which is counted.
        assert 0 < len(asterisk.heard(0.5)) <= 2 * DIALOG_REQUESTS


def test_a_flood_in_ones_name_keeps_nobody_from_hanging_up(rig: Rig) -> None:
    """Datagrams bear any source address. What the address has to do with a signed dialog is nothing."""
    with rig.asterisk() as asterisk, rig.stranger(235) as callee:
        with _called(rig, asterisk, callee) as (invite, dialog):
            callee.send(_answer(invite, callee), rig.outside(1))
            assert asterisk.receive()[0].status == 200
        with rig.stranger(235) as forger:
            for _ in range(300):
                forger.send(
                    forger.request("OPTIONS", f"sip:{rig.network.external_sip}"), rig.outside(1)
                )
                forger.heard(0.001)
        callee.send(callee.request("OPTIONS", rig.new_uri()), rig.outside(1))
        assert callee.heard(0.2) == []
        bye = callee.request("BYE", uri_of(asterisk.contact), dialog, cseq=2)
        callee.send(bye, rig.outside(1))
        assert asterisk.receive()[0].method == "BYE"


@pytest.mark.parametrize("smuggled", ["x\rX-Evercall-Source: y", "x\x00y", "x\x01y", "x\x7fy"])
def test_no_header_is_smuggled(rig: Rig, smuggled: str) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        text = client.request(
            "INVITE", rig.new_uri(), extra=(f"Subject: {smuggled}",), body=client.offer()
        )
        assert client.ask(text, rig.outside(1)).status == 400
        assert farm.heard(0.1) == []


def test_a_body_may_have_any_bytes(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        parts = (
            "--edge\r\nContent-Type: application/sdp\r\n\r\n"
            f"{client.offer(('8', '101'))}\r\n"
            "--edge\r\nContent-Type: application/isup\r\n\r\nx\ry\x01z\r\n--edge--\r\n"
        )
        text = client.request("INVITE", rig.new_uri(), body=parts)
        text = text.replace("application/sdp", 'multipart/mixed;boundary="edge"', 1)
        client.send(text, rig.outside(1))
        assert "x\ry\x01z" in farm.receive()[0].body


def test_a_header_is_not_smuggled_in_an_answer(rig: Rig) -> None:
    with rig.asterisk() as asterisk, rig.stranger() as callee:
        with _called(rig, asterisk, callee) as (invite, _):
            text = _answer(invite, callee)
        callee.send(
            text.replace("Contact:", "Subject: x\rX-Evercall-A: y\r\nContact:"), rig.outside(1)
        )
        assert asterisk.heard(0.3) == []


def test_one_call_cannot_have_streams_without_end(rig: Rig) -> None:
    """Each takes ports at both sides, and a datagram has room for thousands."""
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        body = sdp(client.address[0], 40_000) + "m=audio 40002 RTP/AVP 0\r\n" * 1000
        answer = client.ask(client.request("INVITE", rig.new_uri(), body=body), rig.outside(1))
        assert answer.status == 488
        assert farm.heard(0.1) == []
