"""The settings of `route_manager`."""

from pydantic import Field

from evercall.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """What `route_manager` needs beyond the common settings."""

    number_rest_seconds: int = Field(
        default=30 * 86_400,
        ge=0,
        description="For so long a number that was given up rests before another customer may have it",
    )
