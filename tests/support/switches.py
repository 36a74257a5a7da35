"""What Asterisk has: asked over ARI's HTTP, beside the platform."""

import asyncio
from typing import Any

import httpx

from deploy.lab.lab import Lab
from deploy.lab.network import ARI_PORT
from deploy.lab.plan import ARI_USERNAME, Kind


class Switches:
    """All Asterisks of the lab."""

    def __init__(self, lab: Lab) -> None:
        account = (ARI_USERNAME, lab.credentials.ari_password)
        self._clients = [
            httpx.AsyncClient(base_url=f"http://{each.address}:{ARI_PORT}/ari", auth=account)
            for each in lab.farm.of_kind(Kind.ASTERISK)
        ]

    async def _all(self, what: str) -> list[dict[str, Any]]:
        answers = await asyncio.gather(*(client.get(f"/{what}") for client in self._clients))
        return [found for answer in answers for found in answer.json()]

    async def of_streams(self) -> list[str]:
        """The channels and bridges that belong to media streams."""
        channels = [channel["id"] for channel in await self._all("channels")]
        bridges = [bridge["id"] for bridge in await self._all("bridges")]
        return [name for name in channels + bridges if ".media." in name]

    async def until_no_streams(self, within: float = 3.0) -> None:
        """Waits until nothing of any stream is left."""
        left: list[str] = []
        for _ in range(int(within / 0.05)):
            left = await self.of_streams()
            if not left:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"left in Asterisk: {left}")

    async def close(self) -> None:
        """Asks no more."""
        for client in self._clients:
            await client.aclose()
