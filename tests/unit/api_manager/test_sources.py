"""As whom a customer may call: the rules by themselves."""

import pytest

from api_manager.domain.sources import claimed_number, is_verified, normalise_entry
from evercall.contracts.base import Address, AddressType

DOMAINS = frozenset({"evercall.test"})


def sip(target: str) -> Address:
    return Address(type=AddressType.SIP, target=target)


@pytest.mark.parametrize(
    "target",
    [
        "sip:+4930123456@example.com",
        "sip:4930123456@example.com",
        "sip:%2B4930123456@example.com",
        "sip:+49(30)12-34.56@example.com;user=phone",
        "sip:%34930123456@example.com:5060",
    ],
)
def test_a_user_that_reads_as_a_number_claims_it(target: str) -> None:
    assert claimed_number(sip(target)) == "+4930123456"
    assert not is_verified(sip(target), ["example.com"], frozenset({"example.com"}))
    assert is_verified(sip(target), ["+4930123456"], frozenset())


def test_a_tel_address_claims_its_number() -> None:
    tel = Address(type=AddressType.TEL, target="+4930123456")
    assert claimed_number(tel) == "+4930123456"
    assert not is_verified(tel, [], DOMAINS)
    assert is_verified(tel, ["+4930123456"], DOMAINS)


def test_users_of_a_verified_domain_and_single_addresses() -> None:
    entries = ["acme.example", "sip:110@other.example"]
    assert is_verified(sip("sip:Alice@ACME.example:5060"), entries, DOMAINS)
    assert is_verified(sip("sip:alice@evercall.test"), entries, DOMAINS)
    assert not is_verified(sip("sip:alice@sub.acme.example"), entries, DOMAINS)
    assert not is_verified(sip("sip:alice@other.example"), entries, DOMAINS)
    assert is_verified(sip("sip:110@other.example"), entries, DOMAINS)


@pytest.mark.parametrize("user", ["110", "911", "%31%31%30", "*31#", "0049301234"])
def test_what_reads_as_something_dialled_is_nobodys_name(user: str) -> None:
    assert not is_verified(sip(f"sip:{user}@evercall.test"), ["acme.example"], DOMAINS)


def test_a_host_alone_is_nobody_and_everybody_may_be_anonymous() -> None:
    assert not is_verified(sip("sip:evercall.test"), ["evercall.test"], DOMAINS)
    assert is_verified(sip("sip:anonymous@anonymous.invalid"), [], frozenset())


def test_entries() -> None:
    assert normalise_entry(" ACME.example ") == "acme.example"
    assert normalise_entry("sip:Alice@acme.example") == "sip:alice@acme.example"
    assert normalise_entry("+4930123456") == "+4930123456"
    for text in (
        "",
        "4930123456",
        "alice@acme.example",
        "sip:acme.example",
        "*.acme.example",
        "1.2",
    ):
        with pytest.raises(ValueError, match="an entry is"):
            normalise_entry(text)
