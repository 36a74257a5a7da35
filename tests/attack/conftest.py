"""Attacks from outside, each beside a legitimate call that must not notice.

The call is placed by a phone that is no part of the attack, from a carrier's address. Attackers have addresses
of strangers; what they send is bounded in number and in time.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from deploy.lab.lab import Lab
from tests.e2e.conftest import (
    admin,
    callee,
    caller,
    customer,
    leaving,
    phone,
    platform,
    pytest_runtest_makereport,
    stories,
    streamed,
)
from tests.e2e.edge.peer import Address
from tests.support.phone_media import expecting_no_gap
from tests.support.phone_sipp import Caller, SippCall
from tests.support.rest import Customer, action
from tests.support.web import ToneServer

__all__ = [
    "admin",
    "callee",
    "caller",
    "customer",
    "leaving",
    "phone",
    "platform",
    "pytest_runtest_makereport",
    "stories",
    "streamed",
]

_TONE, _TONE_SECONDS = 440, 110
# The e2e tests have a web server too, which lives as long as the session.
_WEB = 199
_ATTACKER = 240
# How long the audio is listened to after an attack, for what comes late.
_AFTERMATH_SECONDS = 1.0


@pytest.fixture(scope="session")
def web(platform: Lab) -> Iterator[ToneServer]:
    """A web server of the world outside, with tones."""
    server = ToneServer(platform.farm.network.address(9, _WEB))
    yield server
    server.stop()


@dataclass
class Bystander:
    """A legitimate call: answered, with a tone that the caller hears."""

    sip: SippCall
    customer: Customer
    id: str

    @asynccontextmanager
    async def unharmed(self) -> AsyncIterator[None]:
        """While the block runs nothing is lost of what the caller hears; afterwards the call is as before.

        Held, resumed and hung up it is at the end, so this is used once.

        Raises:
            AssertionError: the call was harmed.
        """
        with expecting_no_gap(self.sip.media):
            yield
            await asyncio.sleep(_AFTERMATH_SECONDS)
        assert (await self.customer.call(self.id))["status"] == "progressing"
        await self.sip.reinvite("sendonly")
        await self.sip.reinvite("sendrecv")
        await self.sip.media.hears(_TONE, since=self.sip.media.now, lasting=0.3)
        await self.sip.bye()
        ended = await self.customer.ended(self.id)
        assert (ended["hangup_by"], ended["hangup_reason"]) == ("remote", "normal")


@pytest.fixture
async def bystander(caller: Caller, customer: Customer, web: ToneServer) -> Bystander:
    """The call that must not notice."""
    number = await customer.number(
        action("answer"), action("play", stream_urls=[web.tone(_TONE, _TONE_SECONDS * 1000)])
    )
    sip = await caller.answered_call(number)
    await sip.media.hears(_TONE)
    return Bystander(sip, customer, (await customer.call_to(number))["id"])


@dataclass(frozen=True, slots=True)
class Outsider:
    """Somebody whom nobody knows, with raw sockets."""

    address: str

    async def send(self, datagrams: Iterable[bytes], to: Address, per_second: float) -> int:
        """Send these from one port, evenly; give how many it were."""
        return await asyncio.to_thread(self._send, datagrams, to, per_second)

    def _send(self, datagrams: Iterable[bytes], to: Address, per_second: float) -> int:
        sent = 0
        begun = time.monotonic()
        with self.udp() as link:
            for data in datagrams:
                time.sleep(max(0.0, begun + sent / per_second - time.monotonic()))
                link.sendto(data, to)
                sent += 1
        return sent

    def udp(self) -> socket.socket:
        """A socket of this address."""
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.bind((self.address, 0))
        return link

    def connect(self, to: Address, seconds: float = 3.0) -> socket.socket:
        """A TCP connection.

        Raises:
            OSError: it was refused, or nobody took it in time.
        """
        return socket.create_connection(to, seconds, (self.address, 0))


@pytest.fixture
def outsider(platform: Lab) -> Outsider:
    """The attacker."""
    return Outsider(platform.farm.network.address(9, _ATTACKER))
