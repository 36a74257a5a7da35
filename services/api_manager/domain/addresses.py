"""Addresses that calls start from and go to.

What a customer writes here becomes part of a dial string and of SIP headers, so only what a SIP URI
plainly needs is let through: no headers part (`?...`, RFC 3261 section 19.1.1), no quoting, no blanks,
and no `/ & ,` in the user part, which separate things in Asterisk's dial strings.
"""

import re

from evercall.contracts.base import AddressType

MAX_LENGTH = 255

E164 = re.compile(r"\+[0-9]{7,15}", re.ASCII)

_USER = r"(?:[A-Za-z0-9\-_.!~*'()=+$]|%[0-9A-Fa-f]{2})+"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9\-.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_PARAMETER = r";[A-Za-z0-9\-_.]+(?:=[A-Za-z0-9\-_.:\[\]+]+)?"
_SIP_URI = re.compile(
    rf"sip:(?:{_USER}@)?{_HOST}(?::(?P<port>[0-9]{{1,5}}))?(?:{_PARAMETER})*", re.ASCII
)


def normalise_target(kind: AddressType, target: str) -> str:
    """The target as the platform keeps it; a SIP address may come with or without `sip:`.

    Raises:
        ValueError: it is no such address. The message says what one looks like.
    """
    if kind is AddressType.TEL:
        if not E164.fullmatch(target):
            raise ValueError("a tel target is + and 7 to 15 digits (E.164)")
        return target
    uri = target if target[:4].lower() == "sip:" else f"sip:{target}"
    uri = f"sip:{uri[4:]}"
    match = _SIP_URI.fullmatch(uri) if len(uri) <= MAX_LENGTH else None
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        raise ValueError(
            "a sip target is a SIP URI: user@host, optionally with port and parameters"
        )
    return uri
