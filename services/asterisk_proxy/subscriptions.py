"""What comes in from the bus: commands for this Asterisk."""

from asterisk_proxy.proxy import Proxy
from evercall.contracts.asterisk import AsteriskCommands


class CommandsHandler:
    """Hands over all commands that have arrived, as one write."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def handle(self, messages: list[AsteriskCommands]) -> None:
        """Acked when this returns: the commands are with Asterisk then, or refused."""
        await self._proxy.command(messages)
