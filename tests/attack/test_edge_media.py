"""Media ports, and what is heard: nobody but the parties of a call takes, ends or fills them."""

import secrets
from collections.abc import Iterator
from dataclasses import replace

from deploy.lab.lab import Lab
from deploy.lab.network import SIP_PORT
from deploy.lab.plan import Kind
from tests.attack.conftest import Bystander, Outsider
from tests.e2e.edge.messages import CRLF, Call, request, sdp
from tests.e2e.edge.rig import calls_of

FORGED = 5_000
_PER_SECOND = 1_000
# Below the limit of the flood detection, which so cannot be what helps.
_UNSUSPICIOUS_PER_SECOND = 20
_FORGED_ID = "@forged"


def media_calls(lab: Lab) -> list[str]:
    """The Call-IDs for which an RTPEngine has ports."""
    own = lab.farm.network.internal_kamailio
    nodes = [process.address for process in lab.farm.of_kind(Kind.RTPENGINE)]
    return [call for node in nodes for call in calls_of(node, own)]


def forged_sessions(lab: Lab) -> list[str]:
    return [call for call in media_calls(lab) if call.endswith(_FORGED_ID)]


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
                f"Call-ID: {number}{_FORGED_ID}",
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
    marker = "il." + secrets.token_urlsafe(16)
    async with bystander.unharmed():
        await outsider.send(_answers(platform, marker), kamailio, _PER_SECOND)
        assert bystander.sip.call_id in media_calls(platform)
    assert forged_sessions(platform) == []


def _in_dialog(lab: Lab, outsider: Outsider, method: str, call: Call, number: int) -> bytes:
    via = f"SIP/2.0/UDP {outsider.address}:5060;rport;branch=z9hG4bK{secrets.token_hex(8)}"
    contact, body = f"<sip:x@{outsider.address}>", sdp(outsider.address, 40_000)
    routes = [
        f"<sip:{address}:5060;r2=on;lr;sg=o{secrets.token_urlsafe(16)}>"
        for address in (lab.farm.network.external_sip, lab.farm.network.internal_kamailio)
    ]
    call = replace(call, routes=tuple(routes))
    return request(method, call.target, call, via, contact, cseq=number + 2, body=body).encode()


async def test_requests_to_where_nobody_is_leave_no_session(
    platform: Lab, bystander: Bystander, outsider: Outsider
) -> None:
    """Nobody refuses them, so nothing would be deleted."""
    network = platform.farm.network
    requests = (
        _in_dialog(
            platform,
            outsider,
            "INVITE",
            Call(
                f"<sip:a@example.test>;tag=a{number}",
                "<sip:b@example.test>;tag=b",
                call_id=f"{number}{_FORGED_ID}",
                target=f"sip:x@{network.address(3, 99)}",
            ),
            number,
        )
        for number in range(60)
    )
    async with bystander.unharmed():
        await outsider.send(
            requests, (network.kamailio_external(1), SIP_PORT), _UNSUSPICIOUS_PER_SECOND
        )
    assert forged_sessions(platform) == []


async def test_who_knows_a_call_by_name_cannot_end_its_media(
    platform: Lab, bystander: Bystander, outsider: Outsider
) -> None:
    """With its Call-ID, both tags and its Contact; all but what we have signed."""
    network = platform.farm.network
    answered = bystander.sip.report("answered")
    assert answered is not None
    contact = answered.header("Contact").partition("<")[2].partition(">")[0]
    call = Call(
        answered.header("From"), answered.header("To"), bystander.sip.call_id, target=contact
    )
    requests = (
        _in_dialog(platform, outsider, method, call, number)
        for number, method in enumerate(("ACK", "BYE", "INVITE", "UPDATE") * 10)
    )
    async with bystander.unharmed():
        await outsider.send(
            requests, (network.kamailio_external(2), SIP_PORT), _UNSUSPICIOUS_PER_SECOND
        )
