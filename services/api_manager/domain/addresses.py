"""Addresses that calls start from and go to.

What a customer writes here becomes part of a dial string and of SIP headers, so only what a SIP URI
plainly needs is let through: no headers part (`?...`, RFC 3261 section 19.1.1), no quoting, no blanks,
and no `/ & ,` in the user part, which separate things in Asterisk's dial strings.
"""

import re

from evercall.contracts.base import AddressType

MAX_LENGTH = 251
"""With `sip:` in front it is no longer than 255 either way."""

E164_PATTERN = r"\+[0-9]{7,15}"
E164 = re.compile(E164_PATTERN, re.ASCII)

_USER = r"(?:[A-Za-z0-9\-_.!~*'()=+$]|%[0-9A-Fa-f]{2})+"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9\-.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_PARAMETER = r";[A-Za-z0-9\-_.]+(?:=[A-Za-z0-9\-_.:\[\]+]+)?"
_PORT = r":(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
SIP_PATTERN = rf"(?:[sS][iI][pP]:)?(?:{_USER}@)?{_HOST}(?:{_PORT})?(?:{_PARAMETER})*"
"""What is let through, in the regular expressions of JSON Schema too: the API's document has it."""

_SIP = re.compile(SIP_PATTERN, re.ASCII)


def normalise_target(kind: AddressType, target: str) -> str:
    """The target as the platform keeps it; a SIP address may come with or without `sip:`.

    Raises:
        ValueError: it is no such address. The message says what one looks like.
    """
    if kind is AddressType.TEL:
        if not E164.fullmatch(target):
            raise ValueError("a tel target is + and 7 to 15 digits (E.164)")
        return target
    if len(target) > MAX_LENGTH or not _SIP.fullmatch(target):
        raise ValueError(
            "a sip target is a SIP URI: user@host, optionally with port and parameters"
        )
    return f"sip:{target[4:] if target[:4].lower() == 'sip:' else target}"
