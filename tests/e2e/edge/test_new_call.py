"""A new call from outside: what reaches the call farm, by which way, and how its answers come back."""

import pytest

from tests.e2e.edge.messages import Message, new_branch, parameter, response, sdp
from tests.e2e.edge.peer import UdpPeer
from tests.e2e.edge.rig import DOMAIN, SOURCE_PORTS, Rig

OTHER = {1: 2, 2: 1}


def _invite(rig: Rig, peer: UdpPeer, **extra: object) -> str:
    return peer.request("INVITE", rig.new_uri(), body=peer.offer(), **extra)  # type: ignore[arg-type]


def test_answers_are_asked_for_at_the_balancer(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        client.send(_invite(rig, client), rig.outside(1))
        invite, sender = farm.receive()
    via = invite.header("Via")
    balancer = rig.network.internal_kamailio
    assert via.startswith(f"SIP/2.0/UDP {balancer}:5060;")
    assert parameter(via, "maddr") == balancer
    assert sender[0] == rig.network.kamailio_internal(1)
    assert sender[1] in SOURCE_PORTS
    assert [route.split(";")[0] for route in invite.headers("Record-Route")] == [
        f"<sip:{balancer}:5060",
        f"<sip:{rig.network.external_sip}",
    ]


def test_one_transaction_keeps_its_path_and_branch(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        call, branch = client.new_call(rig.new_uri()), new_branch()
        first = client.request("INVITE", rig.new_uri(), call, branch=branch, body=client.offer())
        seen = []
        for text in (first, first, client.request("CANCEL", rig.new_uri(), call, branch=branch)):
            client.send(text, rig.outside(1))
            seen.append(farm.receive())
        invite = seen[0][0]
        client.send(
            client.request("ACK", rig.new_uri(), call, branch=branch).replace(
                f"To: {call.remote}", f"To: {call.remote};tag=farm"
            ),
            rig.outside(1),
        )
        seen.append(farm.receive())
        client.send(first, rig.outside(2))
        by_the_other = farm.receive()
    assert [message.method for message, _ in seen] == ["INVITE", "INVITE", "CANCEL", "ACK"]
    assert {sender for _, sender in seen} == {seen[0][1]}
    assert {message.branch for message, _ in seen} == {invite.branch}
    # The other Kamailio would say the same, from the same port: a client that is moved is not noticed.
    assert by_the_other[0].header("Via") == invite.header("Via")
    assert by_the_other[1][1] == seen[0][1][1]


def test_calls_spread_over_the_source_ports(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        ports = []
        for number in range(80):
            call = client.new_call(rig.new_uri(), call_id=f"spread-{number}@example.test")
            client.send(client.request("INVITE", rig.new_uri(), call), rig.outside(1))
            ports.append(farm.receive()[1][1])
    assert set(ports) == set(SOURCE_PORTS)
    assert max(ports.count(port) for port in SOURCE_PORTS) <= 20


def test_facts_are_told_by_the_edge_alone(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        text = _invite(
            rig,
            client,
            extra=(
                "X-Evercall-Source: 192.0.2.66",
                "x-evercall-anything: forged",
                "VB-CALL-ID: forged",
                "VBOUT-CODECS: forged",
                'P-Asserted-Identity: "a, (${b}" <sip:+1@example.test>',
                "Privacy: id;critical",
            ),
        )
        client.send(text, rig.outside(1))
        invite, _ = farm.receive()
    assert "forged" not in invite.text
    assert invite.headers("X-Evercall-Source") == [client.address[0]]
    assert invite.headers("X-Evercall-Transport") == ["udp"]
    assert invite.headers("X-Evercall-Domain") == [rig.network.external_sip]
    assert invite.headers("X-Evercall-Destination") == ["%2b15550100"]
    assert invite.headers("X-Evercall-Sip-Call-Id") == [invite.header("Call-ID")]
    assert invite.headers("X-Evercall-Sip-Privacy") == ["id%3bcritical"]
    # Nothing is left that a dialplan could take for syntax.
    assert invite.headers("X-Evercall-Sip-Pai") == [
        "%22a%2c%20%28%24%7bb%7d%22%20%3csip%3a%2b1%40example.test%3e"
    ]


@pytest.mark.parametrize("answered_by", [1, 2])
def test_any_kamailio_takes_the_answer(rig: Rig, answered_by: int) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        client.send(_invite(rig, client), rig.outside(OTHER[answered_by]))
        invite, _ = farm.receive()
        farm.send(response(180, "Ringing", invite), rig.inside(answered_by))
        ringing, sender = client.receive()
    assert ringing.status == 180
    assert sender == rig.outside(answered_by)
    assert ringing.headers("Via")[0].startswith(f"SIP/2.0/UDP {client.address[0]}:")
    assert len(ringing.headers("Via")) == 1


def test_an_answer_finds_a_client_whose_port_was_rewritten(rig: Rig) -> None:
    with (
        rig.carrier() as client,
        UdpPeer(client.address[0]) as balancer,
        rig.asterisk_balancer() as farm,
    ):
        balancer.send(_invite(rig, client), rig.outside(1))
        invite, _ = farm.receive()
        farm.send(response(486, "Busy Here", invite), rig.inside(2))
        assert client.receive()[0].status == 486
        assert balancer.heard(0.2) == []


def test_a_refusal_by_the_farm_is_passed_on(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        client.send(_invite(rig, client), rig.outside(1))
        invite, _ = farm.receive()
        farm.send(response(503, "Service Unavailable", invite), rig.inside(1))
        assert client.receive()[0].status == 503


@pytest.mark.parametrize(
    "uri", ["sip:+15550100@{lb}", "sip:+15550100@{lb}:5060", "sip:+15550100@{domain}"]
)
def test_every_name_of_ours_is_accepted(rig: Rig, uri: str) -> None:
    uri = uri.format(lb=rig.network.external_sip, domain=DOMAIN)
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        client.send(client.request("INVITE", uri, body=client.offer()), rig.outside(1))
        assert farm.receive()[0].request_uri == uri


def test_a_tel_number_becomes_a_sip_address(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        client.send(client.request("INVITE", "tel:+15550100", body=client.offer()), rig.outside(1))
        invite, _ = farm.receive()
    assert invite.request_uri == f"sip:+15550100@{rig.network.external_sip}:5060"


def test_a_client_may_have_us_as_its_outbound_proxy(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        route = f"Route: <sip:{rig.network.external_sip};lr>"
        client.send(_invite(rig, client, extra=(route,)), rig.outside(1))
        assert farm.receive()[0].headers("Route") == []


def test_a_broken_offer_is_refused(rig: Rig) -> None:
    with rig.carrier() as client:
        answer = client.ask(
            client.request("INVITE", rig.new_uri(), body="v=0\r\nthis is not SDP\r\n"),
            rig.outside(1),
        )
    assert answer.status == 488


def _answered(rig: Rig, client: UdpPeer, farm: UdpPeer, offer: str) -> tuple[Message, Message]:
    """A call whose INVITE came by Kamailio 1 and whose answer goes by Kamailio 2."""
    client.send(client.request("INVITE", rig.new_uri(), body=offer), rig.outside(1))
    invite, _ = farm.receive()
    answer = sdp(rig.network.asterisk_call(1), 10_000, ("0", "101"))
    farm.send(response(200, "OK", invite, body=answer), rig.inside(2))
    return invite, client.receive()[0]


@pytest.mark.parametrize("codec", ["0", "8", "9"])
def test_inside_there_is_ulaw_whatever_is_spoken_outside(rig: Rig, codec: str) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        invite, ok = _answered(rig, client, farm, client.offer((codec, "101")))
    assert invite.media[0] in rig.media_inside
    assert invite.media[2] == ["0", "101"]
    assert ok.media[0] in rig.media_outside
    assert ok.media[2] == [codec, "101"]


def test_an_offer_may_come_in_the_answer(rig: Rig) -> None:
    with rig.carrier() as client, rig.asterisk_balancer() as farm, rig.asterisk(1) as asterisk:
        call = client.new_call(rig.new_uri())
        client.send(client.request("INVITE", rig.new_uri(), call), rig.outside(1))
        invite, _ = farm.receive()
        assert invite.body == ""
        offer = sdp(asterisk.address[0], 10_000, ("0", "101"))
        farm.send(response(200, "OK", invite, asterisk.contact, offer), rig.inside(2))
        ok, _ = client.receive()
        assert ok.media[0] in rig.media_outside
        assert set(ok.media[2]) >= {"0", "8", "101"}
        routes = tuple(f"Route: {route}" for route in reversed(ok.headers("Record-Route")))
        ack = client.request(
            "ACK", ok.contact_uri, call, extra=routes, body=client.offer(("8", "101"))
        ).replace(f"To: {call.remote}", f"To: {ok.header('To')}")
        client.send(ack, rig.outside(2))
        acknowledged, _ = asterisk.receive()
    assert acknowledged.media[0] in rig.media_inside
    assert acknowledged.media[2] == ["0", "101"]


def test_an_offer_may_be_a_part_of_the_body(rig: Rig) -> None:
    """As carriers send it that have more to say."""
    with rig.carrier() as client, rig.asterisk_balancer() as farm:
        parts = (
            "--edge\r\nContent-Type: application/sdp\r\n\r\n"
            f"{client.offer(('8', '101'))}\r\n"
            "--edge\r\nContent-Type: application/x-more\r\n\r\nmore\r\n--edge--\r\n"
        )
        text = client.request("INVITE", rig.new_uri(), body=parts)
        text = text.replace("application/sdp", 'multipart/mixed;boundary="edge"', 1)
        client.send(text, rig.outside(1))
        invite, _ = farm.receive()
    assert invite.media[0] in rig.media_inside
    assert invite.media[2] == ["0", "101"]
    assert "more" in invite.body
