"""From what SIP says to the addresses of the public API, and back."""

import re

from evercall.contracts.base import Address, AddressType
from evercall.contracts.call import Direction
from evercall.service.errors import InvalidRequest

ANONYMOUS = "sip:anonymous@anonymous.invalid"
"""RFC 3323 section 4.1.1.3."""

WITHHELD_ID = '"Anonymous" <anonymous>'
WITHHELD_VARIABLES = {
    # Asterisk's host of the From header, over the endpoint's from_domain.
    "SIPFROMDOMAIN": "anonymous.invalid",
    # Asks all on the way to tell the called party no asserted identity either (RFC 3325 section 9.3).
    "PJSIP_HEADER(add,Privacy)": "id",
}
"""What makes of a call one `From: "Anonymous" <sip:anonymous@anonymous.invalid>`."""

_NUMBER = re.compile(r"\+?([0-9]{7,15})", re.ASCII)

# A plain addr-spec (RFC 3261 section 25.1) with parameters. Left out are characters that mean something to
# Asterisk's dial strings (/ , & |), and ?, which would let a customer put header fields into our INVITE.
_SIP_URI = re.compile(
    r"sip:[A-Za-z0-9\-_.!~*'()=+$;%#]{1,128}@(?:[A-Za-z0-9.\-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::[0-9]{1,5})?(?:;[A-Za-z0-9\-_.!~*()%=:\[\]]{1,255}){0,8}",
    re.ASCII,
)

_UNSAFE_NAME = re.compile(r'[\x00-\x1f\x7f"\\<>]')


def e164(text: str) -> str | None:
    """The number with its `+`; None where the text is not an international number. Carriers that leave
    the `+` out are understood."""
    match = _NUMBER.fullmatch(text)
    return f"+{match[1]}" if match else None


def caller_address(number: str, name: str, host: str) -> Address:
    """Who calls: a number, or a SIP user at the host that the call came from."""
    international = e164(number)
    if international is not None:
        return Address(type=AddressType.TEL, target=international, target_name=name)
    target = f"sip:{number}@{host}" if number and host else ANONYMOUS
    return Address(type=AddressType.SIP, target=target, target_name=name)


def dialable_uri(destination: Address) -> str:
    """The SIP URI to dial.

    Raises:
        InvalidRequest: nothing that can be dialed.
    """
    if destination.type is not AddressType.SIP:
        raise InvalidRequest(
            "invalid_argument",
            "Calls go to sip destinations only: calls to numbers need a provider",
            details={"field": "destination.type"},
        )
    target = destination.target
    uri = target if target.startswith("sip:") else f"sip:{target}"
    if not _SIP_URI.fullmatch(uri):
        raise InvalidRequest(
            "invalid_argument",
            "A sip destination is user@host with an optional port and parameters",
            details={"field": "destination.target"},
        )
    return uri


def caller_id(source: Address) -> str:
    """The source as Asterisk's caller id: `"Name" <number or user>`."""
    user = source.target.removeprefix("sip:").partition("@")[0]
    name = _UNSAFE_NAME.sub("", source.target_name)
    return f'"{name}" <{_UNSAFE_NAME.sub("", user)}>'


def is_withheld(anonymous: str, source: Address) -> bool:
    """Whether the called party is not to learn who calls. `auto`: where the source is nobody anyway."""
    return anonymous == "yes" or (anonymous == "auto" and source.target == ANONYMOUS)


def flow_variables(
    call_id: str, direction: Direction, source: Address, destination: Address
) -> dict[str, str]:
    """The variables `voipbin.call.*` that a flow begins with."""
    variables = {"voipbin.call.id": call_id, "voipbin.call.direction": direction.value}
    for name, address in (("source", source), ("destination", destination)):
        prefix = f"voipbin.call.{name}"
        variables[f"{prefix}.type"] = address.type.value
        variables[f"{prefix}.target"] = address.target
        variables[f"{prefix}.target_name"] = address.target_name
        variables[f"{prefix}.name"] = address.name
        variables[f"{prefix}.detail"] = address.detail
    return variables
