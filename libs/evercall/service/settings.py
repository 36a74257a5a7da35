"""Settings that every service shares, read from the environment (prefix `EVERCALL_`)."""

import os
import socket
from typing import NamedTuple

from pydantic import Field, FilePath, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from evercall.bus.address import parse_url
from evercall.store.address import check_url

PREFIX = "EVERCALL_"


class Address(NamedTuple):
    """Where a socket listens."""

    host: str
    port: int


def parse_address(text: str) -> Address:
    """Reads `host:port`.

    Raises:
        ValueError: the text has another form.
    """
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit():
        raise ValueError(f"expected host:port, got {text!r}")
    return Address(host, int(port))


class ServiceSettings(BaseSettings):
    """One subclass per service. Secrets are `SecretStr`, so that `--print-config` masks them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    amqp_url: SecretStr = Field(
        description="amqp://user:password@host:port,host:port/vhost, amqps for TLS; the hosts are nodes of one"
        " cluster and are tried in random order"
    )
    amqp_ca_file: FilePath | None = Field(
        default=None,
        description="amqps: who may vouch for the broker (PEM); empty: the system's authorities",
    )
    amqp_certificate_file: FilePath | None = Field(
        default=None, description="amqps: our certificate (PEM), where the broker asks for one"
    )
    amqp_key_file: FilePath | None = Field(
        default=None, description="amqps: its key (PEM), unless it is in the same file"
    )
    amqp_server_name: str = Field(
        default="",
        description="amqps: the name in the broker's certificate; empty: the host of the URL",
    )
    database_url: SecretStr = Field(
        description="postgresql://user:password@host:port,host:port/database, with parameters as of"
        " libpq: `sslmode` (disable, allow, prefer, require, verify-ca, verify-full), `sslrootcert`,"
        " `sslcert`, `sslkey`, `target_session_attrs` (read-write). Hosts are tried in turn"
    )
    database_password_file: str = Field(
        default="",
        description="File with the password, instead of the URL's. It is read for each connection, so"
        " a changed password needs no restart",
    )
    instance: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        description="Name of this replica; stable over restarts where the orchestrator gives one",
    )
    health_listen: str = Field(default="127.0.0.1:9100", description="/live, /ready and /metrics")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    log_format: str = Field(default="json", pattern="^(json|console)$")
    log_personal: bool = Field(
        default=False, description="Show personal data (pii_ keys) in logs instead of masking it"
    )
    shards: int = Field(default=8, ge=1, le=1024, description="The same for all services, for ever")
    database_pool: int = Field(
        default=4,
        ge=1,
        description="Most database connections of each of two kinds; one more watches",
    )

    @field_validator("database_url")
    @classmethod
    def _can_work(cls, value: SecretStr) -> SecretStr:
        check_url(value.get_secret_value())
        return value

    @field_validator("amqp_url")
    @classmethod
    def _is_amqp(cls, url: SecretStr) -> SecretStr:
        parse_url(url.get_secret_value())
        return url
