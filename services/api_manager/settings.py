"""The settings of `api_manager`."""

import ipaddress

import msgspec
from pydantic import Field, SecretStr, field_validator

from api_manager.domain import destinations
from evercall.contracts.tenant import Quotas
from evercall.service.forwarded import Network
from evercall.service.settings import ServiceSettings, parse_address


class Settings(ServiceSettings):
    """Limits are per replica. Their defaults protect against accidents, not against tariffs."""

    http_listen: str = Field(default="127.0.0.1:8080", description="Where the API listens")
    jwt_key: SecretStr = Field(min_length=32, description="Signs tokens; the same on all replicas")
    admin_accesskey: SecretStr = Field(
        min_length=32, description="The administrator's access key: random, and without dots"
    )
    jwt_seconds: int = Field(default=900, ge=60, le=3600, description="How long a token lives")
    accesskey_cache_seconds: float = Field(
        default=2.0,
        ge=0.0,
        le=5.0,
        description="How long another replica may still accept a key after it was revoked",
    )
    audit_days: int = Field(
        default=365, ge=2, le=3660, description="Days that the audit log is kept for"
    )
    body_bytes: int = Field(default=1_000_000, ge=1024, description="The largest request body")
    request_seconds: float = Field(
        default=20.0, gt=0.0, le=25.0, description="The longest that a request may take"
    )
    address_rate: float = Field(default=1000.0, gt=0.0, description="Requests/s of an IP address")
    address_burst: float = Field(default=2000.0, ge=1.0)
    auth_rate: float = Field(default=10.0, gt=0.0, description="The same, for /auth/*")
    auth_burst: float = Field(default=20.0, ge=1.0)
    customer_rate: float = Field(default=500.0, gt=0.0, description="Requests/s of a customer")
    customer_burst: float = Field(default=1000.0, ge=1.0)
    customer_requests: int = Field(
        default=64, ge=1, description="Requests of a customer that are worked on at once"
    )
    quotas: dict[str, int] = Field(
        default={},
        description="What each customer may have unless the administrator gives it other quotas, as JSON;"
        ' for example {"concurrent_calls": 100}. The rest is as in docs/operations.md',
    )
    destinations_allow: str = Field(
        default="",
        description="Whom all customers may call beside public SIP addresses, separated by commas: prefixes"
        " (+49), networks, hosts, domains (*.example.com)",
    )
    destinations_deny: str = Field(
        default="",
        description="Whom nobody may call: our own public networks and those of the carriers belong here. Of"
        " all entries that match, the most specific one decides",
    )
    source_domains: str = Field(
        default="",
        description="Domains whose SIP addresses every customer may call as, separated by commas",
    )
    trusted_proxies: str = Field(
        default="", description="Networks whose X-Forwarded-For counts, separated by commas"
    )
    cors_origins: str = Field(
        default="", description="Web origins that may call the API from a browser, or *"
    )

    @field_validator("http_listen")
    @classmethod
    def _listens_somewhere(cls, value: str) -> str:
        parse_address(value)
        return value

    @field_validator("admin_accesskey")
    @classmethod
    def _cannot_pass_for_a_token(cls, value: SecretStr) -> SecretStr:
        if "." in value.get_secret_value():
            raise ValueError("must not contain dots")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in _parts(value):
            ipaddress.ip_network(part)
        return value

    @field_validator("quotas")
    @classmethod
    def _are_quotas(cls, value: dict[str, int]) -> dict[str, int]:
        known = {field.name for field in msgspec.structs.fields(Quotas)}
        if not set(value) <= known:
            raise ValueError(f"known are: {', '.join(sorted(known))}")
        msgspec.convert(value, Quotas)
        return value

    @field_validator("destinations_allow", "destinations_deny")
    @classmethod
    def _are_destinations(cls, value: str) -> str:
        return ",".join(destinations.normalise_entry(part) for part in _parts(value))

    @property
    def destination_rules(self) -> destinations.Rules:
        """The platform's own rules."""
        allow, deny = _parts(self.destinations_allow), _parts(self.destinations_deny)
        return destinations.Rules(tuple(allow), tuple(deny))

    @property
    def default_quotas(self) -> Quotas:
        """What a customer has for whom nothing else was set."""
        return Quotas(**self.quotas)

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The networks of our own proxies."""
        return tuple(ipaddress.ip_network(part) for part in _parts(self.trusted_proxies))

    @property
    def allowed_origins(self) -> list[str]:
        """Origins for CORS; none turns it off."""
        return _parts(self.cors_origins)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
