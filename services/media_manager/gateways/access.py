"""Who may open a stream: asked of `api_manager`."""

from dataclasses import dataclass

from evercall.bus.bus import Bus
from evercall.contracts.access import Access, AccessCheck


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought along. Secret."""

    query: str
    authorization: str
    client: str


class AccessGateway:
    """Asks the API's own gate."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def check(self, credentials: Credentials, *, counts: bool) -> Access:
        """For whom these credentials stand.

        Raises:
            PlatformError: as `AccessCheck` tells.
        """
        request = AccessCheck(
            query=credentials.query,
            authorization=credentials.authorization,
            client=credentials.client,
            counts=counts,
        )
        return await self._bus.ask("api_manager", request)
