"""Who may open a stream: asked of `api_manager`."""

from dataclasses import dataclass
from uuid import UUID

from evercall.bus.bus import Bus
from evercall.contracts.access import Access, AccessCheck


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought along, and for which call. Secret."""

    query: str
    authorization: str
    client: str
    call_id: UUID


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
            call_id=credentials.call_id,
            counts=counts,
        )
        return await self._bus.ask("api_manager", request)
