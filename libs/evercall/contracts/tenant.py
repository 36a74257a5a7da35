"""What a customer may use: asked of `api_manager`, which keeps the customers.

Whoever bounds something per customer asks `TenancyFind` (`evercall.service.tenancies` remembers the
answers) and refuses what goes beyond with `evercall.service.quotas.quota_exceeded`.
"""

from typing import Annotated
from uuid import UUID

import msgspec

from evercall.contracts.base import Request

Amount = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Quotas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """How much a customer may have of what all customers share. The defaults here count where nothing else
    is known.

    Attributes:
        concurrent_calls: calls that are up or on their way, both directions, on the whole platform.
        calls_per_second: outgoing calls that may be placed, on the whole platform; as many again, or one
            request's destinations, may come at once.
        destinations_per_request: of `POST /v1.0/calls`.
        speech_at_once: texts that a replica of call_manager speaks for the customer at the same time.
        speech_characters_per_minute: of texts that were not spoken before; per replica.
        downloads_at_once: prompts that a replica of call_manager fetches for the customer at the same time.
        downloads_per_minute: per replica.
        storage_bytes: of prompts that are kept.
        flows: that a customer may have.
        media_streams: that are open at once, on all of the customer's calls.
    """

    concurrent_calls: Amount = 500
    calls_per_second: Amount = 25
    destinations_per_request: Amount = 20
    speech_at_once: Amount = 2
    speech_characters_per_minute: Amount = 30_000
    downloads_at_once: Amount = 8
    downloads_per_minute: Amount = 600
    storage_bytes: Amount = 1_000_000_000
    flows: Amount = 10_000
    media_streams: Amount = 200


class Tenancy(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as services need to know it. One that is frozen, or deleted, places and takes no calls."""

    customer_id: UUID
    frozen: bool = False
    quotas: Quotas = Quotas()


class TenancyFind(Request[Tenancy], frozen=True, kw_only=True):
    """What may this customer use? To the service queue of `api_manager`.

    A customer that does not exist is answered as a frozen one. Answers may be kept until the event
    `<customer_id>.customer.*`.
    """

    customer_id: UUID
