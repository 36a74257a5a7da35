"""Where the broker is, and how it is known to be ours. Pure but for reading certificates."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

PLAIN_PORT = 5672
TLS_PORT = 5671


@dataclass(frozen=True, slots=True)
class Host:
    """One node of the broker, or a load balancer before it."""

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM. They are read for each connection, so that they can be replaced under a running process."""

    ca_file: Path | None = None
    """Who may vouch for the broker; the system's authorities where it is not given."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    """May be in `certificate_file`, too."""
    server_name: str = ""
    """The name that the broker's certificate must hold; that of the URL where it is not given."""

    def context(self) -> ssl.SSLContext:
        """What a connection verifies the broker with.

        Raises:
            OSError: a file can't be read, or holds no certificate or key.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """Everything that an `amqp` URL says."""

    hosts: tuple[Host, ...]
    user: str
    password: str
    virtual_host: str
    secure: bool


def parse_url(url: str) -> Address:
    """Reads `amqp://user:password@host:port,host:port/vhost`; `amqps` is TLS.

    Raises:
        ValueError: the text has another form. The message holds no password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("amqp", "amqps"):
        raise ValueError("expected amqp://user:password@host:port[,host:port]/vhost, or amqps://")
    secure = parts.scheme == "amqps"
    account, _, hosts = parts.netloc.rpartition("@")
    user, _, password = account.partition(":")
    return Address(
        hosts=tuple(_host(text, TLS_PORT if secure else PLAIN_PORT) for text in hosts.split(",")),
        user=unquote(user) or "guest",
        password=unquote(password),
        virtual_host=unquote(parts.path[1:]) or "/",
        secure=secure,
    )


def _host(text: str, port: int) -> Host:
    one = SplitResult("", text, "", "", "")
    try:
        name, given = one.hostname, one.port
    except ValueError:
        name, given = None, None
    if not name:
        raise ValueError("expected host or host:port, with commas between several")
    return Host(name, given or port)
