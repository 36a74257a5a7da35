"""A call that Asterisk makes: out by any Kamailio, to where it may go, with media of the outside."""

import pytest

from tests.e2e.edge.messages import Call, Message, new_branch, response
from tests.e2e.edge.peer import UdpPeer
from tests.e2e.edge.rig import DOMAIN, Rig


def _invite(rig: Rig, asterisk: UdpPeer, uri: str, **extra: object) -> str:
    """As Asterisk writes it: by its outbound proxy, the balancer, and without rport."""
    call = Call(
        local=f"<sip:+15550100@{rig.network.external_sip}>;tag=asterisk",
        remote=f"<{uri}>",
        routes=(f"<sip:{rig.network.internal_kamailio}:5060;lr>",),
    )
    text = asterisk.request("INVITE", uri, call, body=asterisk.offer(("0", "101")), **extra)  # type: ignore[arg-type]
    return text.replace(";rport", "")


@pytest.mark.parametrize(("sent_by", "answered_by"), [(1, 1), (1, 2), (2, 1)])
def test_reaches_the_callee_and_its_answer_comes_back(
    rig: Rig, sent_by: int, answered_by: int
) -> None:
    with rig.asterisk() as asterisk, rig.stranger() as callee:
        uri = f"sip:bob@{callee.address[0]}:{callee.address[1]}"
        asterisk.send(_invite(rig, asterisk, uri), rig.inside(sent_by))
        invite, sender = callee.receive()
        assert sender == rig.outside(sent_by)
        assert invite.request_uri == uri
        assert invite.headers("Route") == []
        balancer = rig.network.external_sip
        assert invite.header("Via").startswith(f"SIP/2.0/UDP {balancer}:5060;")
        assert f"<sip:{balancer}:5060;" in invite.headers("Record-Route")[0]
        assert invite.media[0] in rig.media_outside
        assert invite.media[2] == ["0", "8", "9", "101"]
        answer = callee.offer(("8", "101"))
        callee.send(response(200, "OK", invite, callee.contact, answer), rig.outside(answered_by))
        ok, _ = asterisk.receive()
    assert ok.status == 200
    assert ok.media[0] in rig.media_inside
    assert ok.media[2] == ["0", "101"]


def test_a_cancel_has_the_branch_of_its_invite(rig: Rig) -> None:
    with rig.asterisk() as asterisk, rig.stranger() as callee:
        uri = f"sip:bob@{callee.address[0]}:{callee.address[1]}"
        call = Call(local="<sip:a@b>;tag=asterisk", remote=f"<{uri}>")
        branch = new_branch()
        seen: list[Message] = []
        for method, kamailio in (("INVITE", 1), ("CANCEL", 2)):
            text = asterisk.request(method, uri, call, branch=branch)
            asterisk.send(text, rig.inside(kamailio))
            seen.append(callee.receive()[0])
    assert seen[0].branch == seen[1].branch


def test_what_is_meant_for_us_does_not_leave(rig: Rig) -> None:
    with rig.asterisk() as asterisk, rig.stranger() as callee:
        uri = f"sip:bob@{callee.address[0]}:{callee.address[1]}"
        headers = (
            "X-Evercall-Call: secret",
            "VBOUT-CODECS: secret",
            "P-Asserted-Identity: <sip:a@b>",
        )
        asterisk.send(_invite(rig, asterisk, uri, extra=headers), rig.inside(1))
        invite, _ = callee.receive()
    assert "secret" not in invite.text
    assert invite.headers("P-Asserted-Identity") == ["<sip:a@b>"]


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("sip:x@{asterisk}", 403),
        ("sip:x@{farm}:5060", 403),
        ("sip:x@{rtpengine}:22222", 403),
        ("sip:x@{us}", 482),
        ("sip:x@{domain}", 482),
        ("sips:x@192.0.2.1", 416),
        ("sip:x@192.0.2.1;transport=tls", 416),
    ],
)
def test_where_a_call_may_not_go(rig: Rig, uri: str, status: int) -> None:
    network = rig.network
    uri = uri.format(
        asterisk=network.asterisk_call(2),
        farm=network.internal_asterisk,
        rtpengine=network.rtpengine_internal(1),
        us=network.external_sip,
        domain=DOMAIN,
    )
    with rig.asterisk() as asterisk:
        answer = asterisk.ask(_invite(rig, asterisk, uri), rig.inside(1))
    assert answer.status == status


def test_only_the_farms_may_use_the_inner_side(rig: Rig) -> None:
    with rig.carrier() as outsider, rig.stranger() as callee:
        uri = f"sip:bob@{callee.address[0]}:{callee.address[1]}"
        outsider.send(_invite(rig, outsider, uri), rig.inside(1))
        assert outsider.heard(0.3) == []
        assert callee.heard(0.1) == []


@pytest.mark.parametrize(
    ("host", "received"),
    [
        ("victim", ""),
        ("farm", ""),
        ("asterisk", ";received=victim"),
        ("asterisk", ";rport=9;received=victim"),
    ],
)
def test_an_answer_that_nobody_asked_for_is_not_relayed(rig: Rig, host: str, received: str) -> None:
    network = rig.network
    names = {
        "victim": network.address(9, 77),
        "farm": network.internal_asterisk,
        "asterisk": network.asterisk_call(1),
    }
    for name, address in names.items():
        received = received.replace(name, address)
    forged = Message(
        "OPTIONS sip:x SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {network.external_sip}:5060;branch=z9hG4bK1\r\n"
        f"Via: SIP/2.0/UDP {names[host]}:5060;branch=z9hG4bK2{received}\r\n"
        "From: <sip:a@b>;tag=a\r\nTo: <sip:b@a>;tag=b\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n"
    )
    with (
        rig.stranger() as forger,
        UdpPeer(names["victim"], 5060) as victim,
        rig.asterisk_balancer() as farm,
        rig.asterisk() as asterisk,
    ):
        forger.send(response(200, "OK", forged), rig.outside(1))
        assert [victim.heard(0.2), farm.heard(0.1), asterisk.heard(0.1)] == [[], [], []]


def test_a_forged_answer_from_outside_is_not_taken_on_the_inner_side(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        client.send(client.request("INVITE", rig.new_uri(), body=client.offer()), rig.outside(1))
        invite, _ = farm.receive()
        with rig.stranger() as forger:
            forger.send(response(200, "OK", invite), rig.inside(1))
        assert client.heard(0.3) == []


def test_a_callee_cannot_lead_us_inwards(rig: Rig) -> None:
    """By a Record-Route of its own, which comes back as a Route."""
    network = rig.network
    with rig.asterisk() as asterisk, rig.asterisk_balancer() as farm, rig.stranger() as callee:
        uri = f"sip:bob@{callee.address[0]}:{callee.address[1]}"
        routes = (
            f"<sip:{network.internal_kamailio};lr;r2=on>",
            f"<sip:{network.external_sip};lr;r2=on>",
            f"<sip:{network.internal_asterisk};lr>",
        )
        call = Call(local="<sip:a@b>;tag=a", remote=f"<{uri}>;tag=b", routes=routes)
        asterisk.send(asterisk.request("BYE", uri, call).replace(";rport", ""), rig.inside(1))
        assert farm.heard(0.3) == []
        assert asterisk.receive()[0].status == 503
