"""Who may use what there is little of: so many at once, and so much a minute, fairly between customers.

A customer has at most a part of it. Who waits stands in a queue of its customer's own, and the queues take turns;
so however much one customer asks for, another waits for one use at the most.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from evercall.service.errors import RateLimited
from evercall.service.quotas import quota_exceeded

MOST_CUSTOMERS = 20_000


class Turns:
    """Gives turns at one thing."""

    def __init__(self, quota: str, at_once: int, most_waiting: int, patience: float) -> None:
        """Makes it.

        Args:
            quota: the field of `Quotas` that says how many a customer may have at once.
            at_once: of all customers together. One has never all of them.
            most_waiting: of a customer.
            patience: seconds that one waits.
        """
        self._quota = quota
        self._at_once = at_once
        self._most_waiting, self._patience = most_waiting, patience
        self._in_use: Counter[UUID] = Counter()
        self._each: dict[UUID, int] = {}
        self._queues: OrderedDict[UUID, deque[asyncio.Future[None]]] = OrderedDict()
        """of those who wait, in the order in which they are served next"""

    @asynccontextmanager
    async def turn(self, customer: UUID, each: int) -> AsyncIterator[None]:
        """One use, of at most `each` at once.

        Raises:
            RateLimited: the customer has too many that wait, or this one has waited too long.
        """
        await self._wait(customer, min(each, self._at_once - 1))
        try:
            yield
        finally:
            self._release(customer)
            self._serve()

    async def _wait(self, customer: UUID, each: int) -> None:
        queue = self._queues.setdefault(customer, deque())
        if each <= 0 or len(queue) >= self._most_waiting:
            self._drop_empty(customer)
            raise self._refusal(each)
        self._each[customer] = each
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(place)
        self._serve()
        try:
            async with asyncio.timeout(self._patience):
                await place
        except TimeoutError:
            self._leave(customer, place)
            raise self._refusal(each) from None
        except BaseException:
            self._leave(customer, place)
            raise

    def _leave(self, customer: UUID, place: "asyncio.Future[None]") -> None:
        queue = self._queues.get(customer, deque())
        if place in queue:
            queue.remove(place)
            self._drop_empty(customer)
        elif place.done() and not place.cancelled():
            self._release(customer)  # it was given at the very moment
        self._serve()

    def _serve(self) -> None:
        """Gives what is free to those who wait, one customer after the other."""
        while self._in_use.total() < self._at_once:
            customer = self._next()
            if customer is None:
                return
            place = self._queues[customer].popleft()
            self._queues.move_to_end(customer)
            self._drop_empty(customer)
            if not place.done():
                self._in_use[customer] += 1
                place.set_result(None)

    def _next(self) -> UUID | None:
        return next(
            (each for each in self._queues if self._in_use[each] < self._each.get(each, 0)), None
        )

    def _release(self, customer: UUID) -> None:
        self._in_use[customer] -= 1
        if self._in_use[customer] <= 0:
            del self._in_use[customer]
            if customer not in self._queues:
                self._each.pop(customer, None)

    def _drop_empty(self, customer: UUID) -> None:
        if not self._queues.get(customer):
            self._queues.pop(customer, None)

    def _refusal(self, each: int) -> RateLimited:
        return quota_exceeded(self._quota, each)


class Rates:
    """How much a minute: a bucket for each customer, which holds a minute's amount."""

    def __init__(self, quota: str) -> None:
        """`quota`: the field of `Quotas` that says how much."""
        self._quota = quota
        self._left: OrderedDict[UUID, tuple[float, float]] = OrderedDict()

    def spend(self, customer: UUID, amount: float, per_minute: int, now: float) -> None:
        """Takes some of it.

        Raises:
            RateLimited: there is not so much left.
        """
        left, since = self._left.get(customer, (float(per_minute), now))
        left = min(per_minute, left + (now - since) * per_minute / 60)
        if left < min(amount, per_minute) or not per_minute:
            wait = (amount - left) * 60 / per_minute if per_minute else 60.0
            raise quota_exceeded(self._quota, per_minute, retry_after=wait)
        self._left[customer] = (left - amount, now)
        self._left.move_to_end(customer)
        if len(self._left) > MOST_CUSTOMERS:
            self._left.popitem(last=False)
