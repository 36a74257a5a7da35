"""The settings of `call_manager`."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from evercall.service.settings import ServiceSettings

Network = IPv4Network | IPv6Network


class Settings(ServiceSettings):
    """What `call_manager` needs beyond the common settings."""

    audio_listen: str = Field(
        default="127.0.0.1:8081", description="Where Asterisk's requests for audio are answered"
    )
    audio_url: str = Field(
        default="http://127.0.0.1:8081/audio",
        pattern=r"^http://[^\s,]+$",
        description="How Asterisk reaches the audio of all replicas, without a file name",
    )
    espeak_command: str = Field(
        default="espeak-ng", description="The program that speaks texts: espeak-ng or a wrapper"
    )
    fetch_allowed_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description="Networks, separated by commas, that customers' URLs may lead to although they"
        " are not public",
    )
    dial_timeout: int = Field(default=60, ge=1, description="Seconds until nobody has answered")
    asterisk_lost_after: float = Field(
        default=10.0,
        ge=3.0,
        description="Seconds without a sign of life after which an Asterisk's calls are lost",
    )
    longest_call: int = Field(default=3600, ge=1, description="Seconds that a call may last")

    media_streams_per_call: int = Field(
        default=5, ge=0, description="How many media streams a call may have at once"
    )

    @field_validator("fetch_allowed_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
