"""The whole platform, phones at its edge, and a customer of its own for each test.

A test that fails prints the stories of its calls, as the phones and as the API tell them, and where
the logs are.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from deploy.lab.errors import LabError
from deploy.lab.lab import Lab
from tests.e2e.streams import Leaving, Streamed, idle_call
from tests.support.phone_sipp import Callee, Caller, SippPhone
from tests.support.rest import Api, Customer, Problem, admin_api, new_customer, timeline
from tests.support.web import ToneServer

# Addresses of the world outside, one per kind of phone; baresip has its own in its tests. Who calls is a carrier,
# and who is called is not: a SIP URI does not lead to a carrier.
CALLER, CALLEE, CALLER_BY_PROXY, STRANGER, WEB = 10, 220, 30, 210, 200

pytest.register_assert_rewrite("tests.e2e.theatre")

_STORIES = pytest.StashKey[list[str]]()
_FAILED = pytest.StashKey[bool]()

Phone = TypeVar("Phone", bound=SippPhone)


@pytest.fixture(scope="session")
def platform(lab: Lab) -> Lab:
    """The lab with all of its processes at work."""
    try:
        lab.wait_ready([process.name for process in lab.farm.processes], seconds=30.0)
    except LabError as error:
        pytest.exit(f"the platform is not up (`make up`): {error}", returncode=3)
    return lab


@pytest.fixture
def stories(request: pytest.FixtureRequest) -> list[str]:
    """What is printed should the test fail."""
    told: list[str] = request.node.stash.setdefault(_STORIES, [])
    return told


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    # What the phones tell is known when they are put down. Sections of a teardown are shown with a
    # failed test when their name says so.
    if call.when == "teardown":
        for story in item.stash.get(_STORIES, []):
            report.sections.append(("teardown: what happened", story))
    return report


@pytest.fixture
async def admin(platform: Lab) -> AsyncIterator[Api]:
    """The API as the administrator sees it."""
    api = admin_api(platform)
    yield api
    await api.close()


QUOTAS = {"concurrent_calls": 10_000, "calls_per_second": 1_000}


@pytest.fixture
async def customer(
    platform: Lab, admin: Api, request: pytest.FixtureRequest, stories: list[str]
) -> AsyncIterator[Customer]:
    """A customer who exists for this test."""
    made = await new_customer(platform, admin, request.node.name[:200])
    # A test dials faster than a customer of the default quotas may.
    await admin.put(f"/v1.0/customers/{made.id}/quotas", QUOTAS)
    yield made
    try:
        if request.node.stash.get(_FAILED, False):
            stories.append(f"logs of the platform: {platform.paths.log}")
            stories.append(await timeline(made))
        await made.leave()
    except (Problem, httpx.TransportError) as error:
        stories.append(f"the API could not tell: {error}")


@pytest.fixture(scope="session")
def web(platform: Lab) -> Iterator[ToneServer]:
    """A web server of the world outside, with tones."""
    server = ToneServer(platform.farm.network.address(9, WEB))
    yield server
    server.stop()


@pytest.fixture
async def phone(
    platform: Lab, tmp_path: Path, stories: list[str]
) -> AsyncIterator[Callable[[Phone], Awaitable[Phone]]]:
    """Puts phones down after the test, and lets them tell what they saw."""
    phones: list[SippPhone] = []

    async def keep(made: Any) -> Any:
        phones.append(made)
        return made

    yield keep
    for each in phones:
        await each.stop()
        stories.append(str(each))


Keep = Callable[[Any], Awaitable[Any]]


@pytest.fixture
async def caller(platform: Lab, tmp_path: Path, phone: Keep) -> Caller:
    """A phone that calls from a carrier's address."""
    made: Caller = await phone(Caller(platform, CALLER, tmp_path))
    return await made.start()


@pytest.fixture
async def callee(platform: Lab, tmp_path: Path, phone: Keep) -> Callee:
    """A phone that is called."""
    made: Callee = await phone(Callee(platform, CALLEE, tmp_path))
    return await made.start()


@pytest.fixture
async def leaving() -> AsyncIterator[Leaving]:
    """Ends calls after the test; nothing of any stream is left in Asterisk then."""
    calls: list[Streamed] = []

    def keep(made: Streamed) -> Streamed:
        calls.append(made)
        return made

    yield keep
    for each in calls:
        await each.leave()


@pytest.fixture
async def streamed(platform: Lab, customer: Customer, caller: Caller, leaving: Leaving) -> Streamed:
    """A call that is up."""
    return leaving(await idle_call(platform, customer, caller))
