"""Where the database is and how to get in: one URL, read once, for every connection of a process.

asyncpg knows several hosts too, but gives all of them one time: a first host that hangs would hide the
second. So each host is tried here, the one that worked last before the others, for a time of its own.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

EXAMPLE = "postgresql://user:password@host-a:5432,host-b:5432/database?sslmode=verify-full"

HOST_TIMEOUT = 2.0
"""Seconds for one host to let us in."""

PASSWORD_TRIES = 3
PASSWORD_PAUSE = 0.3
"""Who changes a password changes a file and a role, one after the other."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 10, 3, 3
USER_TIMEOUT_MS = 10_000
"""Seconds and milliseconds after which the kernel gives a silent peer up (tcp(7))."""

_WRITES = "read-write"
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_PARAMETERS = frozenset(
    (
        "application_name",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "target_session_attrs",
        *_FILES,
    )
)
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_VERIFYING = ("require", "verify-ca", "verify-full")
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]\s]+))(?::(?P<port>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class Host:
    """One server, or the folder of its socket."""

    name: str
    port: int


def parse_hosts(text: str) -> tuple[Host, ...]:
    """Reads `host:port,host:port`; a port that is not there is 5432.

    Raises:
        ValueError: the text has another form.
    """
    return tuple(_parse_host(part) for part in text.split(","))


def _parse_host(text: str) -> Host:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(f"host {text!r} is not host, host:port or [address]:port")
    port = int(found["port"] or 5432)
    if not 1 <= port <= 65_535:
        raise ValueError(f"port {port} of host {text!r} is not 1 to 65535")
    return Host(found["six"] or unquote(found["name"]), port)


def check_url(url: str) -> None:
    """Whether a URL can work, as far as that is known without connecting.

    Raises:
        ValueError: it can't; says what is wrong and what to write instead, never the password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError(f"must begin with postgresql://, as in {EXAMPLE}")
    if parts.fragment or parts.netloc.count("@") > 1:
        raise ValueError("write # @ / ? in user or password as %23 %40 %2F %3F")
    credentials, _, hosts = parts.netloc.rpartition("@")
    if not credentials.partition(":")[0]:
        raise ValueError(f"names no user, as in {EXAMPLE}")
    parse_hosts(hosts)
    if not parts.path.strip("/"):
        raise ValueError(f"names no database, as in {EXAMPLE}")
    _check_parameters(_parameters(parts))


def _parameters(parts: SplitResult) -> dict[str, str]:
    return dict(parse_qsl(parts.query, keep_blank_values=True))


def _check_parameters(parameters: Mapping[str, str]) -> None:
    unknown = sorted(parameters.keys() - _PARAMETERS)
    if unknown:
        known = ", ".join(sorted(_PARAMETERS))
        raise ValueError(f"unknown parameter {unknown[0]!r}; known are {known}")
    target = parameters.get("target_session_attrs", _WRITES)
    if target not in (_WRITES, "primary", "any"):
        raise ValueError(
            f"target_session_attrs={target}: Evercall writes; leave it out, or read-write, primary, any"
        )
    mode = parameters.get("sslmode", "prefer")
    if mode not in _MODES:
        raise ValueError(f"sslmode={mode} is not one of {', '.join(_MODES)}")
    _check_tls(mode, parameters)


def _check_tls(mode: str, parameters: Mapping[str, str]) -> None:
    if "sslrootcert" in parameters and mode not in _VERIFYING:
        raise ValueError(
            f"sslrootcert verifies nothing with sslmode={mode}; add sslmode=verify-full"
        )
    if mode.startswith("verify") and "sslrootcert" not in parameters:
        raise ValueError(f"sslmode={mode} needs sslrootcert, the file of the authority")
    if "sslkey" in parameters and "sslcert" not in parameters:
        raise ValueError("sslkey needs sslcert, the file of its certificate")
    for name in _FILES:
        _check_readable(name, parameters.get(name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if "sslrootcert" in parameters:
            context.load_verify_locations(parameters["sslrootcert"])
        if "sslcert" in parameters:
            word = parameters.get("sslpassword", "")
            context.load_cert_chain(parameters["sslcert"], parameters.get("sslkey"), lambda: word)
    except ssl.SSLError as error:
        raise ValueError(f"sslrootcert, sslcert or sslkey is no such file: {error}") from None


def _check_readable(name: str, file: str | None) -> None:
    if file is None:
        return
    try:
        Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"{name}={file}: {error.strerror}") from None


class Address:
    """Connects to whichever host of the URL takes writes."""

    def __init__(self, url: str, password_file: str = "") -> None:
        """`password_file` wins over the URL's password, and is read for each connection: so a changed
        password needs no restart.

        Raises:
            ValueError: see `check_url`.
        """
        check_url(url)
        parts = urlsplit(url)
        self._url = url
        self._password_file = Path(password_file) if password_file else None
        self._hosts = parse_hosts(parts.netloc.rpartition("@")[2])
        self._target = SessionAttribute(_parameters(parts).get("target_session_attrs", _WRITES))

    async def connect(
        self, settings: Mapping[str, str] | None = None, command_timeout: float | None = None
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """A new connection, with these settings of the server.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError,
            asyncpg.TargetServerAttributeNotMatched: no host lets us in to write; it is the error that says
            most.
        """
        failures: list[Exception] = []
        for host in self._hosts:
            try:
                connection = await self._enter(host, settings, command_timeout)
            except _FAILURES as error:
                failures.append(error)
                continue
            self._hosts = (host, *(other for other in self._hosts if other != host))
            return connection
        raise max(failures, key=_says)

    async def _enter(
        self, host: Host, settings: Mapping[str, str] | None, command_timeout: float | None
    ) -> "asyncpg.Connection[asyncpg.Record]":
        for remaining in reversed(range(PASSWORD_TRIES)):
            try:
                return await self._connect(host, settings, command_timeout)
            except asyncpg.InvalidPasswordError:
                if self._password_file is None or remaining == 0:
                    raise
            await asyncio.sleep(PASSWORD_PAUSE)
        raise AssertionError("unreachable")

    async def _connect(
        self, host: Host, settings: Mapping[str, str] | None, command_timeout: float | None
    ) -> "asyncpg.Connection[asyncpg.Record]":
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            self._url,
            host=host.name,
            port=host.port,
            password=self._password(),
            timeout=HOST_TIMEOUT,
            command_timeout=command_timeout,
            server_settings=dict(settings or {}),
            target_session_attrs=self._target,
        )
        _keep_alive(connection)
        return connection

    def _password(self) -> str | None:
        """None is the URL's own."""
        return self._password_file.read_text().strip() if self._password_file else None


_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.TargetServerAttributeNotMatched,
)


def _says(error: Exception) -> bool:
    """Whether it is a server's own word: that says more than a host that is away."""
    return isinstance(error, asyncpg.PostgresError)


def _keep_alive(connection: Any) -> None:
    """Lets the kernel end a connection whose peer went away without a word."""
    link: socket.socket | None = connection._transport.get_extra_info("socket")
    if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, KEEPALIVE_IDLE),
        (socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL),
        (socket.TCP_KEEPCNT, KEEPALIVE_COUNT),
        (socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS),
    ):
        link.setsockopt(socket.IPPROTO_TCP, option, value)
