"""Where calls may go.

Without any rules: to SIP addresses on the internet, and to no numbers. Rules open and close more: the platform's
and the customer's own are one list of entries, and of all that match a destination the most specific one
decides; where two are equally specific, `deny` wins.

    +49               numbers that begin so          the longest prefix decides
    198.51.100.0/24   addresses                      the longest network decides
    pbx.example.com   this host                      beats every domain
    *.example.com     all hosts below                the longest domain decides

What a host name leads to is for the edge to judge once more, which resolves it: a name may change its mind.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network

from evercall.service.guard import is_public, plain_address

_PREFIX = re.compile(r"\+[0-9]{0,15}", re.ASCII)
_LABELS = r"(?:[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?)*"
_DOMAIN = re.compile(rf"(?:\*\.)?{_LABELS}", re.ASCII)
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)

# Names that mean something only inside somebody's network (RFC 6761, RFC 6762, RFC 8375, ICANN's .internal).
_INSIDE = frozenset(
    [
        "arpa",
        "corp",
        "home",
        "internal",
        "intranet",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "private",
        "svc",
    ]
)

_TRANSPORTS = frozenset({"udp", "tcp"})
_ROUTING_PARAMETERS = frozenset({"maddr", "ttl", "lr", "alias", "received", "r2", "ftag"})
_PRIVILEGED_PORTS = range(1, 1024)

Address = IPv4Address | IPv6Address
Length = Callable[[str], int | None]
"""How much of a destination an entry names; None where it does not match."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Entries as `normalise_entry` gives them."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def __add__(self, other: "Rules") -> "Rules":
        return Rules(self.allow + other.allow, self.deny + other.deny)


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a SIP URI that say where a request goes."""

    host: str
    port: int | None
    parameters: dict[str, str]


def normalise_entry(text: str) -> str:
    """An entry of the rules, as it is kept.

    Raises:
        ValueError: it is none. The message says what one looks like.
    """
    entry = text.strip().lower()
    if _PREFIX.fullmatch(entry):
        return entry
    if _NUMERIC_END.fullmatch(entry.partition("/")[0]) or ":" in entry:
        try:
            return str(ip_network(entry))
        except ValueError:
            raise ValueError("a network is an address, or address/length without more") from None
    if not _DOMAIN.fullmatch(entry):
        raise ValueError(
            "an entry is a prefix (+49), a network (198.51.100.0/24), a host or a domain (*.example.com)"
        )
    return entry


def fault_of_number(number: str, rules: Rules) -> str:
    """Why this number (E.164) must not be called; "" where it may."""
    allowed = _decision(rules, lambda entry: _prefix_length(entry, number))
    return "" if allowed else "calls to this number are not allowed"


def fault_of_uri(uri: str, rules: Rules) -> str:
    """Why this SIP URI (as `addresses.normalise_target` gives it) must not be called; "" where it may."""
    target = _target(uri)
    routing = sorted(_ROUTING_PARAMETERS & set(target.parameters))
    if routing:
        return f"the parameter {routing[0]} is not allowed"
    if target.parameters.get("transport", "udp") not in _TRANSPORTS:
        return "the transport is udp or tcp"
    address = _literal(target.host)
    if isinstance(address, str):
        return address
    if address is None:
        allowed = _decision(rules, lambda entry: _host_length(entry, target.host))
        is_open = _is_public_name(target.host)
    else:
        allowed = _decision(rules, lambda entry: _network_length(entry, address))
        is_open = is_public(address)
    if allowed is None:
        allowed = is_open and target.port not in _PRIVILEGED_PORTS
    return "" if allowed else "calls to this address are not allowed"


def fault_of_address(text: str, rules: Rules) -> str:
    """Why an address that a host name leads to must not be called; "" where it may."""
    address = plain_address(text)
    allowed = _decision(rules, lambda entry: _network_length(entry, address))
    if allowed is None:
        allowed = is_public(address)
    return "" if allowed else "the host leads to an address that must not be called"


def host_name(uri: str) -> str:
    """The host of a SIP URI where it is a name that has to be resolved; "" for an address."""
    host = _target(uri).host
    return host if _literal(host) is None else ""


def names_host(host: str, rules: Rules) -> bool:
    """Whether the rules speak of this very host or its domain: then it may lead where it likes."""
    return _decision(rules, lambda entry: _host_length(entry, host)) is not None


def _target(uri: str) -> Target:
    address, *parameters = uri.removeprefix("sip:").rpartition("@")[2].split(";")
    host, _, port = address.rpartition(":") if _has_port(address) else (address, "", "")
    pairs = (parameter.lower().partition("=") for parameter in parameters)
    return Target(
        host=host.lower(),
        port=int(port) if port else None,
        parameters={name: value for name, _, value in pairs},
    )


def _has_port(address: str) -> bool:
    return ":" in address.rpartition("]")[2]


def _literal(host: str) -> Address | str | None:
    """The address that a host is; None for a name; a text says what is wrong with it."""
    text = host.strip("[]")
    try:
        return plain_address(text)
    except ValueError:
        pass
    # 127.1, 0x7f000001, 2130706433, 010.0.0.1: resolvers make addresses of them (RFC 6943 section 3.1.1).
    if host.startswith("[") or _NUMERIC_END.fullmatch(host):
        return "an address has four decimal parts, or is IPv6 in brackets"
    return None


def _is_public_name(host: str) -> bool:
    labels = host.split(".")
    return len(labels) > 1 and labels[-1] not in _INSIDE


def _decision(rules: Rules, length: Length) -> bool | None:
    """What the most specific entry says; None where none matches."""
    allow, deny = _longest(rules.allow, length), _longest(rules.deny, length)
    if allow is None and deny is None:
        return None
    return deny is None or (allow is not None and allow > deny)


def _longest(entries: Iterable[str], length: Length) -> int | None:
    found = (length(entry) for entry in entries)
    return max((one for one in found if one is not None), default=None)


def _prefix_length(entry: str, number: str) -> int | None:
    return len(entry) if entry.startswith("+") and number.startswith(entry) else None


def _network_length(entry: str, address: Address) -> int | None:
    try:
        network = ip_network(entry)
    except ValueError:
        return None
    return network.prefixlen if address in network else None


def _host_length(entry: str, host: str) -> int | None:
    if entry.startswith("*."):
        return len(entry) if host.endswith(entry[1:]) else None
    return 1000 if entry == host else None
