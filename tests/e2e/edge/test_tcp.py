"""Clients on TCP: everything for them passes the one Kamailio that holds their connection."""

from dataclasses import replace

from tests.e2e.edge.messages import Call, parameter, response, sdp, uri_of
from tests.e2e.edge.peer import TcpPeer
from tests.e2e.edge.rig import CONNECTION_PORTS, Rig


def _connect(rig: Rig, kamailio: int) -> TcpPeer:
    return TcpPeer(rig.network.address(9, 6), rig.outside(kamailio))


def test_a_call_comes_back_over_its_connection(rig: Rig) -> None:
    with (
        _connect(rig, 2) as client,
        rig.asterisk_balancer() as farm,
        rig.asterisk() as asterisk,
    ):
        call = client.new_call(rig.new_uri())
        client.send(client.request("INVITE", rig.new_uri(), call, body=client.offer()))
        invite, sender = farm.receive()
        own = rig.network.kamailio_internal(2)
        assert sender[0] == own
        assert sender[1] in CONNECTION_PORTS
        # This instance itself, not the balancer: nobody else could reach the client.
        assert invite.header("Via").startswith(f"SIP/2.0/UDP {own}:{sender[1]};")
        assert parameter(invite.header("Via"), "maddr") == own
        assert invite.headers("Record-Route")[0].startswith(f"<sip:{own}:{sender[1]};")
        answer = sdp(asterisk.address[0], 10_000, ("0", "101"))
        farm.send(response(200, "OK", invite, asterisk.contact, answer), (own, sender[1]))
        ok = client.receive()
        assert ok.status == 200
        routes = tuple(reversed(ok.headers("Record-Route")))
        dialog = replace(call, remote=ok.header("To"), routes=routes)
        client.send(client.request("ACK", ok.contact_uri, dialog))
        assert asterisk.receive()[0].method == "ACK"
        # From the other end. What stands in Contact may not be reachable: the connection is.
        target = uri_of(invite.header("Contact"))
        back = Call(ok.header("To"), call.local, call.call_id, tuple(reversed(routes)), target)
        asterisk.send(asterisk.request("BYE", target, back), (own, sender[1]))
        bye = client.receive()
        assert bye.method == "BYE"
        client.send(response(200, "OK", bye))
        assert asterisk.receive()[0].status == 200


def test_two_requests_in_one_segment(rig: Rig) -> None:
    with _connect(rig, 1) as client:
        uri = f"sip:{rig.network.external_sip}"
        client.send(client.request("OPTIONS", uri) + client.request("OPTIONS", uri))
        assert [client.receive().status, client.receive().status] == [200, 200]


def test_a_request_in_pieces(rig: Rig) -> None:
    with _connect(rig, 1) as client:
        text = client.request("OPTIONS", f"sip:{rig.network.external_sip}")
        for piece in (text[:10], text[10:200], text[200:]):
            client.send(piece)
        assert client.receive().status == 200


def test_a_keepalive_is_answered(rig: Rig) -> None:
    """RFC 5626 §3.5.1."""
    with _connect(rig, 1) as client:
        client.send(b"\r\n\r\n")
        client.link.settimeout(2.0)
        assert client.link.recv(16) == b"\r\n"
