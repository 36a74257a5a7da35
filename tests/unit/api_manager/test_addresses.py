"""What may become part of a dial string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_manager.domain.addresses import normalise_target
from evercall.contracts.base import AddressType


@pytest.mark.parametrize(
    ("given_target", "kept"),
    [
        ("sip:alice@192.0.2.10", "sip:alice@192.0.2.10"),
        ("alice@192.0.2.10:5060", "sip:alice@192.0.2.10:5060"),
        ("SIP:alice@example.com", "sip:alice@example.com"),
        ("sip:+4930123456@example.com;transport=udp", "sip:+4930123456@example.com;transport=udp"),
        ("sip:example.com", "sip:example.com"),
        ("sip:a%20b@[2001:db8::1]:5070;lr", "sip:a%20b@[2001:db8::1]:5070;lr"),
    ],
)
def test_sip_targets(given_target: str, kept: str) -> None:
    assert normalise_target(AddressType.SIP, given_target) == kept


@pytest.mark.parametrize(
    "target",
    [
        "", "sip:", "sips:alice@example.com/x", "tel:+4930123456", "sip:alice@",
        "sip:alice@example.com?X-Header=1", "sip:alice@exa mple.com", "sip:a\r\nX: y@example.com",
        "sip:alice@example.com\n", "sip:a&b@example.com", "sip:a,b@example.com",
        "sip:a/b@example.com", '"Alice" <sip:alice@example.com>', "sip:alice@example.com:0",
        "sip:alice@example.com:65536", "sip:alice@example.com:5060:1", "sip:al%zzice@example.com",
        "sip:alice@-example.com", "sip:ä@example.com", "sip:" + "a" * 300 + "@example.com",
        "sip:a@b@example.com", "sip:alice@example.com;x=\"y\"",
    ],
)  # fmt: skip
def test_what_is_no_sip_target(target: str) -> None:
    with pytest.raises(ValueError, match="SIP URI"):
        normalise_target(AddressType.SIP, target)


@pytest.mark.parametrize("target", ["+4930123456", "+1234567", "+123456789012345"])
def test_tel_targets(target: str) -> None:
    assert normalise_target(AddressType.TEL, target) == target


@pytest.mark.parametrize(
    "target", ["4930123456", "+123456", "+1234567890123456", "+49 30 1", "", "+4930123456\n"]
)
def test_what_is_no_tel_target(target: str) -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        normalise_target(AddressType.TEL, target)


@given(st.text(max_size=80))
def test_what_is_let_through_holds_nothing_that_ends_a_header_or_a_dial_string(text: str) -> None:
    try:
        kept = normalise_target(AddressType.SIP, text)
    except ValueError:
        return
    assert kept.isascii()
    assert not set(kept) & set('\r\n\t "<>?&,/|\\{}^`#')
