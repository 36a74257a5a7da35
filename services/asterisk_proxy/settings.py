"""The settings of `asterisk_proxy`."""

from pydantic import Field, SecretStr, field_validator

from evercall.service.settings import Address, ServiceSettings, parse_address


class Settings(ServiceSettings):
    """Which Asterisk, and where it connects to."""

    asterisk_id: str = Field(
        pattern="^[a-z]+-[a-z0-9-]+$", description="Role and number, for example call-1"
    )
    ari_listen: str = Field(description="host:port where Asterisk's WebSocket arrives")
    ari_username: str = Field(description="By which Asterisk proves itself (websocket_client.conf)")
    ari_password: SecretStr
    sip_address: str = Field(
        description="host:port where Asterisk takes SIP; asked by those who hear nothing of it"
    )
    ari_application: str = Field(default="evercall", description="The Stasis application")

    @field_validator("ari_listen", "sip_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parse_address(value)
        return value

    @property
    def ari_address(self) -> Address:
        """Where to listen."""
        return parse_address(self.ari_listen)

    @property
    def role(self) -> str:
        """The farm that this Asterisk belongs to: `call`, `conference`, `registrar`."""
        return self.asterisk_id.partition("-")[0]
