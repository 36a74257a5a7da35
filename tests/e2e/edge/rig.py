"""The edge by itself: two Kamailio and two RTPEngine, between sockets of the test.

Everything around the edge is played by the test, so it sees each message exactly as a load balancer
or an Asterisk would, and decides which Kamailio gets which. The servers and their templates are the
lab's, on a network of their own.
"""

import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deploy.lab import rootfs
from deploy.lab.network import RESERVED_NETWORKS, Network
from deploy.lab.paths import LabPaths, lab_paths
from deploy.lab.render import render_folder
from deploy.lab.rootfs import Bind
from tests.e2e.edge.messages import Message
from tests.e2e.edge.peer import Address, Silence, UdpPeer

SIP = 5060
RTPENGINE_PORT = 22222
SOURCE_PORTS = tuple(range(5070, 5078))
CONNECTION_PORTS = (5080, 5081)
PIKE_REQUESTS, PIKE_SECONDS, PIKE_BLOCK_SECONDS = 60, 2, 4
DIALOG_REQUESTS, CARRIER_INVITES = 30, 300
MAX_SESSIONS = 300
TCP_CONNECTIONS, TCP_IDLE_SECONDS = 8, 4
DIALOG_KEYS = ("new-key-of-the-rig", "old-key-of-the-rig")
DOMAIN = "sip.example.test"
_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Rig:
    """Addresses of the edge, and of those whom the test plays."""

    network: Network

    def outside(self, kamailio: int) -> Address:
        """Where clients reach a Kamailio; kamailio is 1 or 2."""
        return self.network.kamailio_external(kamailio), SIP

    def inside(self, kamailio: int) -> Address:
        """Where the farms reach a Kamailio."""
        return self.network.kamailio_internal(kamailio), SIP

    def carrier(self, number: int = 5) -> UdpPeer:
        """A client that is known by its address."""
        return UdpPeer(self.network.address(9, number))

    def stranger(self, number: int = 250) -> UdpPeer:
        """A client that is not."""
        return UdpPeer(self.network.address(9, number))

    def asterisk_balancer(self) -> UdpPeer:
        """Gets what the edge sends to the call farm."""
        return UdpPeer(self.network.internal_asterisk, SIP)

    def asterisk(self, number: int = 1) -> UdpPeer:
        """Gets what the edge sends straight to one Asterisk."""
        return UdpPeer(self.network.asterisk_call(number), SIP)

    @property
    def media_outside(self) -> list[str]:
        """Where clients may be told to send media."""
        return [self.network.rtpengine_external(node) for node in (1, 2)]

    @property
    def media_inside(self) -> list[str]:
        """Where an Asterisk may be told to send media."""
        return [self.network.rtpengine_internal(node) for node in (1, 2)]

    def new_uri(self, user: str = "+15550100") -> str:
        return f"sip:{user}@{self.network.external_sip}"


@contextmanager
def running_rig(folder: Path, prefix: str) -> Iterator[Rig]:
    """Start the edge below `folder`, on addresses that begin with `prefix`; stop it at the end."""
    paths, network = lab_paths(), Network(prefix)
    with ExitStack() as stack:
        for index in (1, 2):
            variables = _rtpengine(network, index)
            stack.enter_context(_server("rtpengine", index, variables, folder, paths))
        # Kamailio asks RTPEngine when it starts, and not again for seconds.
        for index in (1, 2):
            _wait(partial(_ping_rtpengine, network, index))
        for index in (1, 2):
            variables = _kamailio(network, index)
            stack.enter_context(_server("kamailio", index, variables, folder, paths))
        rig = Rig(network)
        for index in (1, 2):
            _wait(partial(_ping_kamailio, rig, index))
        yield rig


@contextmanager
def _server(
    kind: str, index: int, variables: dict[str, Any], folder: Path, paths: LabPaths
) -> Iterator[None]:
    etc, run = folder / f"{kind}-{index}", folder / f"run-{kind}-{index}"
    places = {"CONFIG_DIRECTORY": str(etc), "RUN_DIRECTORY": str(run)}
    render_folder(paths.project / kind / "templates", variables | places, etc)
    run.mkdir()
    argv = {
        "kamailio": ["kamailio", "-DD", "-E", "-Y", str(run), "-f", f"{etc}/kamailio.cfg"],
        "rtpengine": ["rtpengine", f"--config-file={etc}/rtpengine.conf"],
    }[kind]
    line = rootfs.command(paths, argv, [Bind(etc), Bind(run, writable=True)])
    with (folder / f"{kind}-{index}.log").open("wb") as log:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield
        finally:
            # bwrap takes its whole process namespace with it.
            process.send_signal(signal.SIGKILL)
            process.wait()


def _wait(attempt: Callable[[], object]) -> None:
    """Try until it is answered."""
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            attempt()
        except Silence:
            if time.monotonic() > until:
                raise
        else:
            return


def _ping_rtpengine(network: Network, index: int) -> None:
    with UdpPeer(network.internal_kamailio) as peer:
        peer.send("0 d7:command4:pinge", (network.rtpengine_external(index), RTPENGINE_PORT))
        peer.receive(0.2)


def _ping_kamailio(rig: Rig, kamailio: int) -> None:
    with rig.carrier() as peer:
        ping(peer, rig.outside(kamailio), rig.network.external_sip, seconds=0.2)


def media_calls(rig: Rig) -> set[str]:
    """The Call-IDs for which an RTPEngine has ports."""
    nodes = [rig.network.rtpengine_external(node) for node in (1, 2)]
    return {call for node in nodes for call in calls_of(node, rig.network.internal_kamailio)}


def calls_of(rtpengine: str, own: str) -> Iterator[str]:
    """The Call-IDs for which this RTPEngine has ports; asked from an address of our own."""
    with UdpPeer(own) as peer:
        text = ask_rtpengine(peer, rtpengine, "d7:command4:list5:limiti99999ee")
    _, found, text = text.partition("d5:callsl")
    assert found, text
    # Bencoding: each text has its length in front of it, and an e is the end.
    while text and text[0] != "e":
        length, _, text = text.partition(":")
        yield text[: int(length)]
        text = text[int(length) :]


def ask_rtpengine(peer: UdpPeer, rtpengine: str, command: str) -> str:
    """The answer to a bencoded command."""
    # The cookie in front is new each time: RTPEngine repeats its answer to one that it has seen.
    cookie = uuid.uuid4().hex
    peer.send(f"{cookie} {command}", (rtpengine, RTPENGINE_PORT))
    text = peer.receive()[0].text
    assert text.startswith(f"{cookie} "), text
    return text


def ping(peer: UdpPeer, to: Address, host: str, seconds: float = 3.0) -> Message:
    """OPTIONS to the edge itself."""
    return peer.ask(peer.request("OPTIONS", f"sip:{host}"), to, seconds)


def _kamailio(network: Network, index: int) -> dict[str, Any]:
    return {
        "EXTERNAL_ADDRESS": network.kamailio_external(index),
        "EXTERNAL_PORT": SIP,
        "EXTERNAL_LB_ADDRESS": network.external_sip,
        "EXTERNAL_LB_PORT": SIP,
        "INTERNAL_ADDRESS": network.kamailio_internal(index),
        "INTERNAL_PORT": SIP,
        "INTERNAL_LB_ADDRESS": network.internal_kamailio,
        "INTERNAL_LB_PORT": SIP,
        "SOURCE_PORTS": SOURCE_PORTS,
        "CONNECTION_SOURCE_PORTS": CONNECTION_PORTS,
        "ASTERISK_LB_ADDRESS": network.internal_asterisk,
        "ASTERISK_LB_PORT": SIP,
        "ASTERISK_NETWORKS": network.asterisks,
        "INTERNAL_NETWORKS": network.inside,
        "RESERVED_NETWORKS": RESERVED_NETWORKS,
        "OUTBOUND_NETWORKS": [network.outside],
        "CARRIER_NETWORKS": network.carriers,
        "DOMAINS": [DOMAIN],
        "EXTERNAL_LB_REWRITES_PORT": True,
        "RTPENGINE_SOCKETS": [
            f"udp:{network.rtpengine_external(node)}:{RTPENGINE_PORT}" for node in (1, 2)
        ],
        "OUTBOUND_CODECS": ["PCMA", "G722"],
        "DIALOG_KEYS": DIALOG_KEYS,
        "DIALOG_REQUESTS": DIALOG_REQUESTS,
        "CARRIER_INVITES": CARRIER_INVITES,
        "TCP_CONNECTIONS_PER_ADDRESS": TCP_CONNECTIONS,
        "TCP_IDLE_SECONDS": TCP_IDLE_SECONDS,
        "PIKE_REQUESTS": PIKE_REQUESTS,
        "PIKE_SECONDS": PIKE_SECONDS,
        "PIKE_BLOCK_SECONDS": PIKE_BLOCK_SECONDS,
        "UDP_WORKERS": 1,
        "TCP_WORKERS": 1,
        "LOG_LEVEL": 0,
    }


def _rtpengine(network: Network, index: int) -> dict[str, Any]:
    return {
        "NG_ADDRESS": network.rtpengine_external(index),
        "NG_PORT": RTPENGINE_PORT,
        "EXTERNAL_ADDRESS": network.rtpengine_external(index),
        "INTERNAL_ADDRESS": network.rtpengine_internal(index),
        "PORT_MIN": 20000,
        "PORT_MAX": 21999,
        "NUM_THREADS": 1,
        "TIMEOUT": 60,
        "SILENT_TIMEOUT": 3600,
        "OFFER_TIMEOUT": 180,
        "MAX_SESSIONS": MAX_SESSIONS,
        "MAX_CPU": 0,
        "MAX_BANDWIDTH": 0,
        "DELETE_DELAY": 0,
        "TOS": 184,
        "LOG_LEVEL": 4,
    }
