"""Answers that nobody asked for: they take no media ports, and nobody gets them."""

from collections.abc import Iterator

from deploy.lab.lab import Lab
from deploy.lab.network import RTPENGINE_CONTROL_PORT, SIP_PORT
from deploy.lab.plan import Kind
from tests.attack.conftest import Bystander, Outsider
from tests.e2e.edge.messages import CRLF, sdp
from tests.e2e.edge.peer import UdpPeer

FORGED = 5_000
_PER_SECOND = 1_000


def media_sessions(lab: Lab) -> int:
    """How many calls the RTPEngines hold."""
    return sum(_sessions_of(lab, process.address) for process in lab.farm.of_kind(Kind.RTPENGINE))


def _sessions_of(lab: Lab, address: str) -> int:
    with UdpPeer(lab.farm.network.internal_kamailio) as peer:
        peer.send("0 d7:command4:list5:limiti99999ee", (address, RTPENGINE_CONTROL_PORT))
        return peer.receive()[0].text.count("@forged")


def _answers(lab: Lab, marker: str) -> Iterator[bytes]:
    """200 OK to INVITEs that were never sent, as if by the callee of one of our Asterisks."""
    network = lab.farm.network
    body = sdp(network.address(9, 240), 40_000)
    for number in range(FORGED):
        yield CRLF.join(
            [
                "SIP/2.0 200 OK",
                f"Via: SIP/2.0/UDP {network.external_sip}:5060;branch=z9hG4bK{number};ev={marker}",
                f"Via: SIP/2.0/UDP {network.asterisk_call(1)}:5060;branch=z9hG4bKx{number}",
                f"From: <sip:a@example.test>;tag=a{number}",
                f"To: <sip:b@example.test>;tag=b{number}",
                f"Call-ID: {number}@forged",
                "CSeq: 1 INVITE",
                f"Contact: <sip:b@{network.address(9, 240)}>",
                "Content-Type: application/sdp",
                f"Content-Length: {len(body)}",
                "",
                body,
            ]
        ).encode()


async def test_forged_answers_leave_no_session(
    platform: Lab, bystander: Bystander, outsider: Outsider
) -> None:
    kamailio = platform.farm.network.kamailio_external(1), SIP_PORT
    async with bystander.unharmed():
        await outsider.send(_answers(platform, "il"), kamailio, _PER_SECOND)
    assert media_sessions(platform) == 0
