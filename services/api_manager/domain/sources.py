"""As whom a customer may call: nobody's number but its own, nobody's name but its own.

The user part of the source is what the called party sees as the caller, so one that reads as a telephone number
is a claim to that number, whatever domain stands behind it.
"""

import re
from collections.abc import Collection
from urllib.parse import unquote

from evercall.contracts.base import Address, AddressType

ANONYMOUS = "sip:anonymous@anonymous.invalid"
"""Everybody may be nobody (RFC 3323 section 4.1.1.3)."""

_E164 = re.compile(r"\+[0-9]{7,15}", re.ASCII)
_SIP = re.compile(
    r"sip:([a-z0-9\-_.!~*'()+=$%]{1,128})@([a-z0-9](?:[a-z0-9\-.]*[a-z0-9])?)", re.ASCII
)
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9\-.]*[a-z0-9])?", re.ASCII)
_DIALLED = re.compile(r"[0-9+*#().\-]+", re.ASCII)
_SEPARATORS = str.maketrans("", "", "().-")


def normalise_entry(text: str) -> str:
    """A verified origin, as it is kept: a number, a SIP address, or a domain.

    Raises:
        ValueError: it is none. The message says what one looks like.
    """
    entry = text.strip().lower()
    if _E164.fullmatch(entry) or _SIP.fullmatch(entry):
        return entry
    if _DOMAIN.fullmatch(entry) and not _DIALLED.fullmatch(entry):
        return entry
    raise ValueError("an entry is a number (+4930123456), sip:user@domain, or a domain")


def claimed_number(source: Address) -> str:
    """The number that a source claims to be, as E.164; "" where it claims none."""
    if source.type is AddressType.TEL:
        return source.target
    user, _ = _user_and_host(source)
    digits = user.translate(_SEPARATORS)
    if _E164.fullmatch(digits):
        return digits
    return f"+{digits}" if _E164.fullmatch(f"+{digits}") else ""


def is_verified(source: Address, entries: Collection[str], domains: Collection[str]) -> bool:
    """Whether the source is one that the customer may use beside its own numbers.

    Args:
        source: as the customer wrote it.
        entries: the customer's verified origins.
        domains: those that every customer may use, with users that do not look like something dialled.
    """
    if source.target.lower() == ANONYMOUS:
        return True
    number = claimed_number(source)
    if number:
        return number in entries
    user, host = _user_and_host(source)
    if f"sip:{user}@{host}" in entries:
        return True
    if not user or _DIALLED.fullmatch(user):
        return False
    return host in entries or host in domains


def _user_and_host(source: Address) -> tuple[str, str]:
    address = source.target.removeprefix("sip:").partition(";")[0]
    user, _, rest = address.rpartition("@")
    return unquote(user).lower(), rest.partition(":")[0].lower()
