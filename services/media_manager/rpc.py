"""What other processes ask of this one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from evercall.contracts.base import Empty, Request
from evercall.contracts.media import (
    MediaAccepted,
    MediaConnect,
    StreamDigit,
    StreamHandedOver,
    StreamHandover,
)
from media_manager.doors.dialing import Dialer
from media_manager.registry import Registry

Handlers = Mapping[type[Request[Any]], Callable[[Any], Awaitable[msgspec.Struct]]]


class OwnHandlers:
    """The queue of this very process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def handlers(self) -> Handlers:
        """For `Bus.serve`."""
        return {StreamHandover: self.hand_over, StreamDigit: self.digit}

    async def hand_over(self, request: StreamHandover) -> StreamHandedOver:
        """Gives a stream away."""
        return self._registry.hand_over(request.id)

    async def digit(self, request: StreamDigit) -> Empty:
        """A key was pressed."""
        self._registry.digit(request.id, request.digit, request.duration_ms)
        return Empty()


class ServiceHandlers:
    """The queue of all processes of the service."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    @property
    def handlers(self) -> Handlers:
        """For `Bus.serve`."""
        return {MediaConnect: self.connect}

    async def connect(self, request: MediaConnect) -> MediaAccepted:
        """Opens a stream towards an application."""
        return await self._dialer.connect(request)
