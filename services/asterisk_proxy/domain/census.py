"""Which channels are up, as far as events tell."""

from collections.abc import Iterable

from evercall.ari.events import CHANNEL_GONE, Incoming


class Census:
    """Counts channels for the heartbeat; a list of all of them sets it right after a gap."""

    def __init__(self) -> None:
        self._channels: set[str] = set()

    def __len__(self) -> int:
        return len(self._channels)

    def hear(self, event: Incoming) -> None:
        """Takes an event into account."""
        if event.channel is None:
            return
        if event.type == CHANNEL_GONE:
            self._channels.discard(event.channel.id)
        else:
            self._channels.add(event.channel.id)

    def reset(self, channels: Iterable[str]) -> None:
        """Exactly these are up."""
        self._channels = set(channels)
