"""Media through the edge: ulaw inside, digits as they are, from wherever the client really sends."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.e2e.edge.messages import Message, response, sdp
from tests.e2e.edge.peer import Address
from tests.e2e.edge.rig import Rig

_PACKETS = 25
_PACKET_SECONDS = 0.02
# 20 ms of silence in each codec, and the size of an RTP header without extensions.
_SILENCE = {0: b"\xff" * 160, 8: b"\xd5" * 160, 9: b"\xfa" * 160}
_HEADER = 12
_EVENT = 101


@dataclass(frozen=True, slots=True)
class Ends:
    """The sockets at both ends of a call's media, and where each sends to."""

    client: socket.socket
    asterisk: socket.socket
    client_sends_to: Address
    asterisk_sends_to: Address


@contextmanager
def _udp(host: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((host, 0))
        link.setblocking(False)
        yield link


@contextmanager
def _call(rig: Rig, codec: int) -> Iterator[Ends]:
    network = rig.network
    with (
        rig.carrier() as client,
        rig.asterisk_balancer() as farm,
        _udp(client.address[0]) as near,
        _udp(network.asterisk_call(1)) as far,
    ):
        offer = sdp(*_address(near), (str(codec), str(_EVENT)))
        client.send(client.request("INVITE", rig.new_uri(), body=offer), rig.outside(1))
        invite, _ = farm.receive()
        answer = sdp(*_address(far), ("0", str(_EVENT)))
        farm.send(response(200, "OK", invite, body=answer), rig.inside(2))
        ok, _ = client.receive()
        yield Ends(near, far, _media_address(ok), _media_address(invite))


def _address(link: socket.socket) -> Address:
    host, port = link.getsockname()
    return host, port


def _media_address(message: Message) -> Address:
    return message.media[:2]


def _packet(payload_type: int, number: int, payload: bytes) -> bytes:
    """RFC 3550 §5.1."""
    return struct.pack("!BBHII", 0x80, payload_type, number, number * 160, 0x5EED) + payload


def _pass(
    link: socket.socket, to: Address, payload_type: int, payload: bytes, at: socket.socket
) -> list[bytes]:
    """Send half a second of packets; return what arrives at the other end."""
    arrived: list[bytes] = []
    for number in range(_PACKETS):
        link.sendto(_packet(payload_type, number, payload), to)
        time.sleep(_PACKET_SECONDS)
        while True:
            try:
                arrived.append(at.recv(2048))
            except BlockingIOError:
                break
    return arrived


def _payload_types(packets: list[bytes]) -> set[int]:
    return {packet[1] & 0x7F for packet in packets}


@pytest.mark.parametrize("codec", [0, 8, 9])
def test_audio_is_ulaw_inside(rig: Rig, codec: int) -> None:
    with _call(rig, codec) as ends:
        inside = _pass(ends.client, ends.client_sends_to, codec, _SILENCE[codec], ends.asterisk)
        outside = _pass(ends.asterisk, ends.asterisk_sends_to, 0, _SILENCE[0], ends.client)
    assert len(inside) >= _PACKETS * 0.8
    assert _payload_types(inside) == {0}
    assert {len(packet) for packet in inside} == {_HEADER + 160}
    assert len(outside) >= _PACKETS * 0.8
    assert _payload_types(outside) == {codec}


@pytest.mark.parametrize("codec", [0, 8])
def test_digits_are_events_on_both_sides(rig: Rig, codec: int) -> None:
    five = struct.pack("!BBH", 5, 10, 160)  # RFC 4733 §2.3: event, volume, duration
    with _call(rig, codec) as ends:
        _pass(ends.client, ends.client_sends_to, codec, _SILENCE[codec], ends.asterisk)
        arrived = _pass(ends.client, ends.client_sends_to, _EVENT, five, ends.asterisk)
    events = [packet for packet in arrived if packet[1] & 0x7F == _EVENT]
    assert len(events) >= _PACKETS * 0.8
    assert {packet[_HEADER] for packet in events} == {5}


def test_a_client_is_answered_where_it_sends_from(rig: Rig) -> None:
    """Behind NAT the port in the offer is not the one that is seen."""
    with _call(rig, 0) as ends, _udp(ends.client.getsockname()[0]) as mapped:
        inside = _pass(mapped, ends.client_sends_to, 0, _SILENCE[0], ends.asterisk)
        outside = _pass(ends.asterisk, ends.asterisk_sends_to, 0, _SILENCE[0], mapped)
    assert len(inside) >= _PACKETS * 0.8
    assert len(outside) >= _PACKETS * 0.8


def test_a_third_party_is_heard_by_nobody(rig: Rig) -> None:
    """It knows the ports of both ends. Its packets come after those that were learned."""
    with (
        _call(rig, 0) as ends,
        _udp(rig.network.address(9, 66)) as outside,
        _udp(rig.network.asterisk_call(9)) as inside,
    ):
        _pass(ends.client, ends.client_sends_to, 0, _SILENCE[0], ends.asterisk)
        _pass(ends.asterisk, ends.asterisk_sends_to, 0, _SILENCE[0], ends.client)
        assert _pass(outside, ends.client_sends_to, 0, _SILENCE[0], ends.asterisk) == []
        assert _pass(inside, ends.asterisk_sends_to, 0, _SILENCE[0], ends.client) == []
        again = _pass(ends.client, ends.client_sends_to, 0, _SILENCE[0], ends.asterisk)
        assert len(again) >= _PACKETS * 0.8


def test_a_call_has_one_relay_whoever_asks(rig: Rig) -> None:
    """Kamailio 1 makes the offer and Kamailio 2 the answer; neither tells the other which RTPEngine it took."""
    nodes = []
    for _ in range(20):
        with _call(rig, 0) as ends:
            outside = rig.media_outside.index(ends.client_sends_to[0])
            assert rig.media_inside.index(ends.asterisk_sends_to[0]) == outside
            nodes.append(outside)
    assert set(nodes) == {0, 1}
