"""Whether a customer may place the calls that it asks for: as whom, to where, and how many.

Everything that can be refused is refused before a call exists.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from api_manager.domain import destinations, sources
from api_manager.domain.buckets import AtOnce
from api_manager.domain.destinations import Rules
from api_manager.ports import Asks
from api_manager.resources import Customer
from evercall.contracts.base import Address, AddressType
from evercall.contracts.call import CallsAdmit
from evercall.contracts.route import NumberFind
from evercall.service.errors import Forbidden, InvalidRequest, NotFound, RateLimited
from evercall.service.quotas import quota_exceeded

RESOLVE_SECONDS = 1.0

LOOKUPS_AT_ONCE = 2
"""Names of one customer that are looked up at once: the system's resolver blocks a thread for each, for as long
as a name server of the customer's own choice likes."""

Resolve = Callable[[str], Awaitable[Sequence[str]]]


async def resolve(host: str) -> Sequence[str]:
    """The addresses of a name as far as it has any, by the system's resolver. A name that has none, or no
    answer in time, is not judged here: SIP finds hosts by NAPTR and SRV too (RFC 3263), and the edge judges
    what it finds."""
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ()
    return [str(address[0]) for *_, address in found]


class Calling:
    """The platform's rules for calls of all customers."""

    def __init__(
        self,
        bus: Asks,
        rules: Rules,
        source_domains: frozenset[str],
        resolve: Resolve = resolve,
    ) -> None:
        self._bus = bus
        self._rules = rules
        self._source_domains = source_domains
        self._resolve = resolve
        self._lookups = AtOnce(LOOKUPS_AT_ONCE)
        self._under_way: set[asyncio.Future[Sequence[str]]] = set()

    async def require(
        self, customer: Customer, source: Address, targets: Sequence[Address]
    ) -> None:
        """The customer may call these targets as this source.

        Raises:
            RateLimited: more destinations than one request may have.
            Forbidden: `source_not_allowed`.
            InvalidRequest: `destination_not_allowed`, with each that is not.
        """
        most = customer.quotas.destinations_per_request
        if len(targets) > most:
            raise quota_exceeded("destinations_per_request", most)
        await self._require_source(customer, source)
        await self._require_destinations(customer, targets)

    async def admit(self, customer_id: UUID, call_ids: list[UUID]) -> None:
        """The customer has room for these calls: all of them, or none.

        Raises:
            RateLimited: `quota_exceeded`.
            Forbidden: `account_frozen`.
        """
        request = CallsAdmit(customer_id=customer_id, call_ids=call_ids)
        await self._bus.ask("call_manager", request)

    async def _require_source(self, customer: Customer, source: Address) -> None:
        if sources.is_verified(source, customer.policy.sources, self._source_domains):
            return
        number = sources.claimed_number(source)
        if number and await self._owns(customer.id, number):
            return
        raise Forbidden(
            "source_not_allowed",
            "The source must be a number that is assigned to you, or an origin that the administrator has"
            " verified for you",
            details={"field": "source.target"},
        )

    async def _owns(self, customer_id: UUID, number: str) -> bool:
        try:
            await self._bus.ask("route_manager", NumberFind(customer_id=customer_id, number=number))
        except NotFound:
            return False
        return True

    async def _require_destinations(self, customer: Customer, targets: Sequence[Address]) -> None:
        own = customer.policy.destinations
        rules = self._rules + Rules(tuple(own.allow), tuple(own.deny))
        faults = [await self._fault(customer.id, target, rules) for target in targets]
        found = [
            {"path": f"destinations[{index}].target", "message": fault}
            for index, fault in enumerate(faults)
            if fault
        ]
        if found:
            raise InvalidRequest(
                "destination_not_allowed",
                "A destination must not be called; the administrator may allow it",
                details={"faults": found},
            )

    async def _fault(self, customer_id: UUID, target: Address, rules: Rules) -> str:
        if target.type is AddressType.TEL:
            return destinations.fault_of_number(target.target, rules)
        fault = destinations.fault_of_uri(target.target, rules)
        name = destinations.host_name(target.target)
        if fault or not name or destinations.names_host(name, rules):
            return fault
        addresses = await self._look_up(customer_id, name)
        judged = (destinations.fault_of_address(address, rules) for address in addresses)
        return next(filter(None, judged), "")

    async def _look_up(self, customer_id: UUID, name: str) -> Sequence[str]:
        """The addresses of a name, as far as they are known in time. A look-up that takes longer goes on, and
        counts until it ends: its thread cannot be taken back.

        Raises:
            RateLimited: names of this customer are being looked up already.
        """
        if not self._lookups.enter(customer_id):
            raise RateLimited(
                "rate_limit_exceeded",
                "Too many host names of yours are being looked up",
                details={"limited_by": "host_names", "retry_after": 1},
            )

        def ended(lookup: asyncio.Future[Sequence[str]]) -> None:
            self._under_way.discard(lookup)
            self._lookups.leave(customer_id)

        lookup = asyncio.ensure_future(self._resolve(name))
        self._under_way.add(lookup)
        lookup.add_done_callback(ended)
        await asyncio.wait({lookup}, timeout=RESOLVE_SECONDS)
        return lookup.result() if lookup.done() else ()
