"""TLS with a real RabbitMQ that asks for a client's certificate: who is let in, and whom we believe."""

from pathlib import Path

import pytest

from evercall.bus.address import Address, Tls, parse_url
from evercall.bus.amqp import connect
from evercall.contracts.base import Empty, Request
from tests.contract.broker.conftest import SERVER_NAME, TLS_PORT, Connect
from tests.support.brokers import Brokers


class Greet(Request[Empty], frozen=True, kw_only=True):
    pass


async def greet(_: Greet) -> Empty:
    return Empty()


@pytest.fixture
def url(broker: Brokers) -> str:
    return broker.url.replace("amqp:", "amqps:").replace(":5672", f":{TLS_PORT}")


def whole(certificates: Path, **changed: object) -> Tls:
    """Everything that is needed, but for what is changed."""
    values: dict[str, object] = {
        "ca_file": certificates / "ca.pem",
        "certificate_file": certificates / "client.pem",
        "key_file": certificates / "client.key",
        "server_name": SERVER_NAME,
    }
    return Tls(**(values | changed))  # type: ignore[arg-type]


async def test_requests_go_over_tls(url: str, certificates: Path, connect: Connect) -> None:
    bus = await connect(url, whole(certificates))
    await bus.serve("greeter", {Greet: greet})
    assert await bus.ask("greeter", Greet()) == Empty()
    session = bus._connection.session
    assert session is not None
    transport = session.publishing._transport
    assert transport is not None
    assert transport.get_extra_info("cipher") is not None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ca_file": "stranger.pem"}, "certificate verify failed"),
        ({"ca_file": None}, "certificate verify failed"),
        ({"server_name": ""}, "certificate verify failed"),
        ({"server_name": "other.evercall.test"}, "certificate verify failed"),
        ({"certificate_file": None, "key_file": None}, "the connection was lost"),
        (
            {"certificate_file": "stranger.pem", "key_file": "stranger.key"},
            "the connection was lost",
        ),
    ],
)
async def test_whoever_does_not_belong_is_refused(
    url: str, certificates: Path, changed: dict[str, str | None], reason: str
) -> None:
    """A broker that the authority does not vouch for, or that has another name, is given no password; the broker
    takes nobody without a certificate of the authority."""
    files = {
        key: certificates / value if value and key.endswith("_file") else value
        for key, value in changed.items()
    }
    address = parse_url(url)
    with pytest.raises(OSError, match=reason):
        await connect_with(address, whole(certificates, **files))


async def connect_with(address: Address, tls: Tls) -> None:
    connection = await connect(address, address.hosts[0], "test", 5, tls)
    connection.fail("it should have been refused")


async def test_a_certificate_that_cannot_be_read_is_an_error_and_no_end(
    url: str, certificates: Path
) -> None:
    with pytest.raises(OSError, match=r"No such file|PEM"):
        await connect_with(
            parse_url(url), whole(certificates, certificate_file=certificates / "gone")
        )
