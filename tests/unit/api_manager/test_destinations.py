"""Where calls may go: the rules by themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_manager.domain.destinations import (
    Rules,
    fault_of_address,
    fault_of_number,
    fault_of_uri,
    host_name,
    names_host,
    normalise_entry,
)

NONE = Rules()

OPEN = [
    "sip:alice@8.8.8.8",
    "sip:alice@8.8.8.8:5060;transport=tcp",
    "sip:alice@[2001:4860:4860::8888]:5080",
    "sip:alice@example.com",
    "sip:alice@PBX.Example.com:5062;transport=UDP;user=phone",
    "sip:example.com",
]

CLOSED = [
    "sip:x@169.254.169.254:80;transport=tcp",  # a cloud's metadata service
    "sip:x@127.20.4.31:9100;transport=tcp",  # one of our own
    "sip:x@10.0.0.1",
    "sip:x@172.16.0.1",
    "sip:x@192.168.1.1",
    "sip:x@100.64.0.1",
    "sip:x@0.0.0.0",
    "sip:x@224.0.0.1",
    "sip:x@255.255.255.255",
    "sip:x@[::1]",
    "sip:x@[fe80::1]",
    "sip:x@[fc00::1]",
    "sip:x@[::ffff:10.0.0.1]",
    "sip:x@[::ffff:7f00:1]",
    "sip:x@[64:ff9b::a00:1]",
    "sip:x@2130706433",  # 127.0.0.1, as one number
    "sip:x@0x7f000001",
    "sip:x@0x7f.1",
    "sip:x@127.1",
    "sip:x@010.0.0.1",
    "sip:x@8.8.8.8.8",
    "sip:x@[::ffff]:1",
    "sip:x@localhost",
    "sip:x@rabbitmq",
    "sip:x@rabbitmq.evercall.svc",
    "sip:x@metadata.google.internal",
    "sip:x@printer.local",
    "sip:x@8.8.8.8:80",
    "sip:x@8.8.8.8:22;transport=tcp",
    "sip:x@8.8.8.8;maddr=10.0.0.1",
    "sip:x@8.8.8.8;lr",
    "sip:x@8.8.8.8;alias=10.0.0.1~5060~1",
    "sip:x@8.8.8.8;received=10.0.0.1",
    "sip:x@8.8.8.8;transport=ws",
    "sip:x@8.8.8.8;TRANSPORT=sctp",
]


@pytest.mark.parametrize("uri", OPEN)
def test_public_addresses_may_be_called(uri: str) -> None:
    assert fault_of_uri(uri, NONE) == ""


@pytest.mark.parametrize("uri", CLOSED)
def test_what_is_not_public_must_not(uri: str) -> None:
    assert fault_of_uri(uri, NONE)


def test_what_the_rules_open_is_open_and_nothing_beside_it() -> None:
    rules = Rules(allow=("10.1.0.0/16",))
    assert fault_of_uri("sip:x@10.1.2.3:80", rules) == ""
    assert fault_of_uri("sip:x@10.2.2.3", rules)
    # Routing parameters would lead elsewhere than the address that was judged.
    assert fault_of_uri("sip:x@10.1.2.3;maddr=10.2.0.1", rules)


def test_the_most_specific_entry_decides_and_deny_wins_a_tie() -> None:
    rules = Rules(
        allow=("203.0.0.0/16", "203.0.113.7/32", "198.51.100.0/24"),
        deny=("203.0.113.0/24", "198.51.100.0/24"),
    )
    assert fault_of_uri("sip:x@203.0.1.1", rules) == ""
    assert fault_of_uri("sip:x@203.0.113.8", rules)
    assert fault_of_uri("sip:x@203.0.113.7", rules) == ""
    assert fault_of_uri("sip:x@198.51.100.1", rules)


def test_a_customers_entries_and_the_platforms_are_one_list() -> None:
    platform = Rules(deny=("8.8.8.0/24",))
    assert fault_of_uri("sip:x@8.8.8.8", platform)
    assert fault_of_uri("sip:x@8.8.8.8", platform + Rules(allow=("8.8.8.8/32",))) == ""
    assert fault_of_uri("sip:x@8.8.8.8", platform + Rules(allow=("8.8.0.0/16",)))


def test_hosts_and_domains() -> None:
    rules = Rules(
        allow=("pbx.local", "*.lab.internal"), deny=("*.example.com", "evil.lab.internal")
    )
    assert fault_of_uri("sip:x@pbx.local", rules) == ""
    assert fault_of_uri("sip:x@a.lab.internal", rules) == ""
    assert fault_of_uri("sip:x@evil.lab.internal", rules)
    assert fault_of_uri("sip:x@sip.example.com", rules)
    assert fault_of_uri("sip:x@example.com", rules) == ""
    assert names_host("sip.example.com", rules)
    assert not names_host("example.org", rules)


def test_numbers_need_a_prefix_and_the_longest_decides() -> None:
    assert fault_of_number("+4930123456", NONE)
    rules = Rules(allow=("+49", "+882161"), deny=("+49900", "+882"))
    assert fault_of_number("+4930123456", rules) == ""
    assert fault_of_number("+49900123456", rules)
    assert fault_of_number("+882341234567", rules)  # satellites cost
    assert fault_of_number("+882161234567", rules) == ""
    assert fault_of_number("+12025550100", rules)
    assert fault_of_number("+12025550100", Rules(allow=("+",))) == ""


def test_what_a_name_leads_to_is_judged_as_an_address() -> None:
    assert fault_of_address("8.8.8.8", NONE) == ""
    assert fault_of_address("::ffff:10.0.0.1", NONE)
    assert fault_of_address("10.0.0.1", Rules(allow=("10.0.0.0/8",))) == ""
    assert host_name("sip:x@sip.example.com:5060") == "sip.example.com"
    assert host_name("sip:x@8.8.8.8") == ""
    assert host_name("sip:x@[::1]") == ""


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" +49 ", "+49"),
        ("198.51.100.0/24", "198.51.100.0/24"),
        ("198.51.100.7", "198.51.100.7/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("*.Example.COM", "*.example.com"),
        ("pbx.example.com", "pbx.example.com"),
    ],
)
def test_entries_are_kept_in_one_form(text: str, kept: str) -> None:
    assert normalise_entry(text) == kept


@pytest.mark.parametrize(
    "text",
    ["", "49x!", "198.51.100.7/24", "1.2.3", "*.*.com", "http://x", "+49-30", "[::1]", "a_b"],
)
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"entry|network"):
        normalise_entry(text)


@given(st.integers(0, 2**32 - 1), st.integers(0, 65535))
def test_no_form_of_a_private_address_passes(number: int, port: int) -> None:
    """10.0.0.0/8, in each form that some resolver understands."""
    value = (10 << 24) | (number & 0xFFFFFF)
    a, b, c, d = value.to_bytes(4, "big")
    forms = [f"{a}.{b}.{c}.{d}", str(value), hex(value), f"{a}.{b}.{(c << 8) | d}"]
    forms += [f"0{a:o}.{b}.{c}.{d}", f"[::ffff:{a}.{b}.{c}.{d}]", f"[64:ff9b::{a}.{b}.{c}.{d}]"]
    for form in forms:
        assert fault_of_uri(f"sip:x@{form}:{port or 5060}", NONE), form
