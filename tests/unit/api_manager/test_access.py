"""Who may open a connection with another service: the gate's rules, said over the bus."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from api_manager.access import AccessHandlers
from api_manager.app import limits_of
from api_manager.gate import Limits
from api_manager.resources import CustomerStatus
from evercall.contracts.access import Access, AccessCheck
from evercall.service.errors import Forbidden, NotFound, PlatformError, RateLimited, Unauthorized
from evercall.service.identity import new_id
from tests.unit.api_manager.world import ADMIN_KEY, CUSTOMER_KEY, World


class Door:
    """The handlers of one replica, asked as another service asks them."""

    def __init__(self, world: World) -> None:
        self.limits: Limits = limits_of(world.settings)
        self._handlers = AccessHandlers(
            world.components.authenticator,
            world.components.customers,
            world.components.audit,
            self.limits,
            world.clock,
        ).handlers

    async def ask(self, query: str = "", **fields: Any) -> Access:
        given: dict[str, Any] = {"client": "192.0.2.7", "call_id": new_id()} | fields
        request = AccessCheck(query=query, **given)
        answer = await self._handlers[AccessCheck](request)
        assert isinstance(answer, Access)
        return answer


@pytest.fixture
def door(world: World) -> Door:
    return Door(world)


async def token_of(world: World, key: str) -> str:
    async with world.client(None) as client:
        answer = await client.post("/auth/token", json={"accesskey": key})
    return str(answer.json()["token"])


@pytest.mark.parametrize(
    "fields",
    [
        {"query": f"encapsulation=sln&accesskey={CUSTOMER_KEY}"},
        {"query": f"token={CUSTOMER_KEY}"},
        {"authorization": f"Bearer {CUSTOMER_KEY}"},
    ],
)
async def test_a_key_that_never_ends_lets_its_customer_in(
    world: World, door: Door, fields: dict[str, str]
) -> None:
    assert await door.ask(**fields) == Access(customer_id=world.customer_id)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "authentication_required"),
        ({"query": "accesskey=ec_unknown"}, "invalid_credentials"),
        ({"authorization": "Bearer a.b.c"}, "invalid_credentials"),
        # The first place in the documented order counts, good or bad.
        (
            {"query": f"accesskey={CUSTOMER_KEY}", "authorization": "Bearer x"},
            "invalid_credentials",
        ),
    ],
)
async def test_credentials_that_do_not_hold(door: Door, fields: dict[str, str], code: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        await door.ask(**fields)
    assert refused.value.code == code
    assert CUSTOMER_KEY not in f"{refused.value} {refused.value.details}"


async def test_a_token_says_when_it_ends_and_ends_then(world: World, door: Door) -> None:
    token = await token_of(world, CUSTOMER_KEY)
    access = await door.ask(f"token={token}")
    assert access.customer_id == world.customer_id
    assert access.expires_at is not None
    seconds = (access.expires_at - world.clock.now()).total_seconds()
    assert 899 <= seconds <= 900
    world.clock.seconds += 901
    with pytest.raises(Unauthorized):
        await door.ask(f"token={token}", counts=False)


@pytest.mark.parametrize(("minutes", "sooner"), [(5, "key"), (60, "token")])
async def test_the_earlier_end_counts_of_a_token_and_its_key(
    world: World, door: Door, minutes: int, sooner: str
) -> None:
    token = await token_of(world, CUSTOMER_KEY)
    end = world.clock.now() + timedelta(minutes=minutes)
    (identifier,) = world.accesskeys.rows
    row = world.accesskeys.rows[identifier]
    world.accesskeys.rows[identifier] = msgspec.structs.replace(row, tm_expire=end)
    world.clock.seconds += 3  # longer than the cache
    assert (await door.ask(f"accesskey={CUSTOMER_KEY}")).expires_at == end
    by_token = (await door.ask(f"token={token}")).expires_at
    assert by_token is not None
    assert (by_token == end) if sooner == "key" else (by_token < end)


async def test_a_revoked_key_is_refused_at_the_next_look(world: World, door: Door) -> None:
    await door.ask(f"accesskey={CUSTOMER_KEY}")
    world.accesskeys.rows.clear()
    world.clock.seconds += 3
    with pytest.raises(Unauthorized):
        await door.ask(f"accesskey={CUSTOMER_KEY}", counts=False)


async def test_a_frozen_account_is_refused(world: World, door: Door) -> None:
    await world.customers.set_status(world.customer_id, CustomerStatus.FROZEN)
    with pytest.raises(Forbidden) as refused:
        await door.ask(f"accesskey={CUSTOMER_KEY}")
    assert refused.value.code == "account_frozen"


async def test_the_administrator_acts_for_the_customer_that_is_named(
    world: World, door: Door
) -> None:
    named = f"accesskey={ADMIN_KEY}&customer_id={world.customer_id}"
    assert await door.ask(named) == Access(customer_id=world.customer_id)
    token = await token_of(world, ADMIN_KEY)
    by_token = await door.ask(f"token={token}&customer_id={world.customer_id}")
    assert by_token.customer_id == world.customer_id
    assert by_token.expires_at is not None
    with pytest.raises(NotFound) as unknown:
        await door.ask(f"accesskey={ADMIN_KEY}&customer_id={new_id()}")
    assert unknown.value.code == "customer_not_found"


async def test_a_customer_acts_for_nobody_else(world: World, door: Door) -> None:
    own = await door.ask(f"accesskey={CUSTOMER_KEY}&customer_id={world.customer_id}")
    assert own.customer_id == world.customer_id
    with pytest.raises(Forbidden) as refused:
        await door.ask(f"accesskey={CUSTOMER_KEY}&customer_id={new_id()}")
    assert refused.value.code == "permission_denied"


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::1"])
async def test_an_address_that_asks_too_often_waits_even_with_good_credentials(client: str) -> None:
    world = World(address_rate=1.0, address_burst=3)
    door = Door(world)
    refusals: list[PlatformError] = []
    for credential in ("ec_x", "ec_y", "ec_z", CUSTOMER_KEY):
        try:
            await door.ask(f"accesskey={credential}", client=client)
        except PlatformError as error:
            refusals.append(error)
    assert [refused.code for refused in refusals] == ["invalid_credentials"] * 3 + [
        "rate_limit_exceeded"
    ]
    assert refusals[-1].details["limited_by"] == "address"
    # A repeated look takes nothing and is not held up.
    assert (await door.ask(f"accesskey={CUSTOMER_KEY}", client=client, counts=False)).customer_id
    world.clock.seconds += 1.0
    await door.ask(f"accesskey={CUSTOMER_KEY}", client=client)


async def test_a_customer_has_one_limit_wherever_it_asks_from() -> None:
    world = World(customer_rate=1.0, customer_burst=2)
    door = Door(world)
    for last in (1, 2):
        await door.ask(f"accesskey={CUSTOMER_KEY}", client=f"192.0.2.{last}")
    with pytest.raises(RateLimited) as refused:
        await door.ask(f"accesskey={CUSTOMER_KEY}", client="192.0.2.3")
    assert refused.value.details["limited_by"] == "customer"


async def test_a_client_that_is_no_address_is_limited_too(door: Door, world: World) -> None:
    assert (await door.ask(f"accesskey={CUSTOMER_KEY}", client="")).customer_id == world.customer_id
