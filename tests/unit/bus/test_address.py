"""Where the broker is, read from a URL."""

import pytest

from evercall.bus.address import Address, Host, parse_url


def test_several_nodes_share_account_and_virtual_host() -> None:
    assert parse_url("amqp://me:p%40ss@a:5673,b,[::1]:7/my%2Fvhost") == Address(
        (Host("a", 5673), Host("b", 5672), Host("::1", 7)), "me", "p@ss", "my/vhost", secure=False
    )


def test_tls_has_a_port_of_its_own() -> None:
    address = parse_url("amqps://me:secret@a,b:5/x")
    assert (address.hosts, address.secure) == ((Host("a", 5671), Host("b", 5)), True)


def test_without_a_path_it_is_the_default_virtual_host() -> None:
    address = parse_url("amqp://localhost")
    assert (address.user, address.password, address.virtual_host) == ("guest", "", "/")


@pytest.mark.parametrize(
    "url",
    ["", "localhost:5672", "http://me:secret@a/", "amqp://", "amqp://me:secret", "amqp://me:secret@a,,b/"],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)
