"""Broken messages at the running lab: each gets what it deserves, and everything stays up."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pytest

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind
from tests.e2e.edge.peer import Address, Silence, TcpPeer, UdpPeer
from tests.e2e.edge.rig import SIP, ping
from tests.e2e.edge.torture import Case, Expect, Sender, cases

_CARRIER = 190
# Each message has a socket of its own; not all at once, for there is a limit on open files.
_BATCH = 100
# Messages to be answered at all are answered at once, except by Asterisk.
_ANSWER_SECONDS = 0.5

Outcome = tuple[Case, int]
AnyPeer = TypeVar("AnyPeer", UdpPeer, TcpPeer)


def _processes(lab: Lab) -> dict[str, list[int]]:
    return {
        process.name: sorted(lab.pids(process.name))
        for process in lab.farm.processes
        if process.kind in (Kind.KAMAILIO, Kind.ASTERISK, Kind.RTPENGINE)
    }


def _is_deserved(expect: Expect, status: int) -> bool:
    match expect:
        case Expect.SERVED:
            return 200 <= status < 300
        case Expect.REFUSED:
            return status >= 400
        case Expect.NOT_SERVED:
            return status == 0 or status >= 400
        case Expect.ANYTHING:
            return True


def _first_final(statuses: Iterable[int]) -> int:
    return next((status for status in statuses if status >= 200), 0)


def _batches(
    us: str, transport: str, connect: Callable[[], AnyPeer]
) -> Iterator[list[tuple[Case, AnyPeer]]]:
    opened: list[AnyPeer] = []

    def senders() -> Iterator[Sender]:
        while True:
            peer = connect()
            opened.append(peer)
            yield Sender(peer.address[0], peer.address[1], us, transport)

    # The sender of a case is the last one that was asked for.
    paired = ((case, opened[-1]) for case in cases(senders()))
    while True:
        try:
            if not (batch := list(itertools.islice(paired, _BATCH))):
                return
            yield batch
        finally:
            for peer in opened:
                peer.link.close()
            opened.clear()


def _by_udp(host: str, us: str, to: Address) -> Iterator[Outcome]:
    for batch in _batches(us, "UDP", lambda: UdpPeer(host)):
        for case, peer in batch:
            peer.send(case.data, to)
        time.sleep(_ANSWER_SECONDS)
        for case, peer in batch:
            yield case, _first_final(message.status for message in peer.heard(0.001))


def _by_tcp(host: str, us: str, to: Address) -> Iterator[Outcome]:
    for batch in _batches(us, "TCP", lambda: TcpPeer(host, to)):
        for case, peer in batch:
            peer.send(case.data)
        for case, peer in batch:
            yield case, _first_final(_statuses(peer, case.expect))


def _statuses(peer: TcpPeer, expect: Expect) -> Iterator[int]:
    """What comes before the connection is closed or falls silent."""
    patience = _ANSWER_SECONDS if expect in (Expect.SERVED, Expect.REFUSED) else 0.01
    try:
        while True:
            yield peer.receive(patience).status
    except Silence:
        return


@pytest.mark.parametrize("kamailio", [1, 2])
def test_by_udp(lab: Lab, kamailio: int) -> None:
    network = lab.farm.network
    to = (network.kamailio_external(kamailio), SIP)
    host, us = network.address(9, _CARRIER), network.external_sip
    before = _processes(lab)
    wrong = [
        (case.name, str(case.expect), status)
        for case, status in _by_udp(host, us, to)
        if not _is_deserved(case.expect, status)
    ]
    assert wrong == []
    assert _processes(lab) == before
    with UdpPeer(host) as peer:
        assert ping(peer, to, us).status == 200


@pytest.mark.parametrize("kamailio", [1, 2])
def test_by_tcp(lab: Lab, kamailio: int) -> None:
    network = lab.farm.network
    to = (network.kamailio_external(kamailio), SIP)
    host, us = network.address(9, _CARRIER), network.external_sip
    before = _processes(lab)
    wrong = [
        (case.name, str(case.expect), status)
        for case, status in _by_tcp(host, us, to)
        # A stream that has lost its framing is closed, so what is refused by UDP may end in silence here.
        if not _is_deserved(
            Expect.NOT_SERVED if case.expect is Expect.REFUSED else case.expect, status
        )
    ]
    assert wrong == []
    assert _processes(lab) == before
    with TcpPeer(host, to) as peer:
        assert peer.ask(peer.request("OPTIONS", f"sip:{us}")).status == 200
