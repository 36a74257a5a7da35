"""The settings of `flow_manager`: those that every service has."""

from evercall.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing beyond the common ones."""
