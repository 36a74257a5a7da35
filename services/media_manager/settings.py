"""The settings of `media_manager`."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from evercall.service.settings import ServiceSettings, parse_address

Network = IPv4Network | IPv6Network
Networks = Annotated[tuple[Network, ...], NoDecode]


class Settings(ServiceSettings):
    """What `media_manager` needs beyond the common settings."""

    http_listen: str = Field(
        default="127.0.0.1:8080", description="Where applications' WebSockets come in"
    )
    rtp_address: str = Field(
        default="127.0.0.1", description="The IPv4 address to which Asterisk sends audio"
    )
    trusted_proxies: Networks = Field(
        default=(), description="Networks whose X-Forwarded-For counts, separated by commas"
    )
    media_allowed_networks: Networks = Field(
        default=(),
        description="Networks, separated by commas, that external_media_start may connect to although they"
        " are not public",
    )
    media_connections: int = Field(
        default=4000, ge=1, description="Connections at once, half-open ones included"
    )
    media_queue_seconds: float = Field(
        default=60.0, gt=0.0, le=600.0, description="Audio of an application that may wait"
    )
    media_resume_seconds: float = Field(
        default=10.0,
        gt=0.0,
        le=10.0,
        description="For so long an application that was cut off may come back, and misses nothing",
    )

    @field_validator("trusted_proxies", "media_allowed_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("http_listen")
    @classmethod
    def _listens_somewhere(cls, value: str) -> str:
        parse_address(value)
        return value
