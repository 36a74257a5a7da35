"""What the API needs of the bus."""

from collections.abc import Awaitable
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from evercall.contracts.base import Request

A = TypeVar("A")


class Asks(Protocol):
    """The part of `Bus` that handlers use."""

    def ask(
        self, service: str, request: Request[A], *, actor: UUID | None = None, timeout: float = 5.0
    ) -> Awaitable[A]: ...

    async def publish_event(
        self, resource: str, event: str, customer_id: UUID, body: msgspec.Struct
    ) -> None: ...
