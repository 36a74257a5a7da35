"""Tokens: what they say, and what does not pass for one."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from api_manager.domain.principal import Principal
from api_manager.domain.scopes import Scope
from api_manager.tokens import Claims, TokenSigner
from evercall.service.identity import new_id

KEY = "a signing key that is long enough for a test"
PRINCIPAL = Principal(new_id(), new_id(), "fingerprint", frozenset({Scope.READ, Scope.MEDIA}))


class Now:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def signer(now: Now) -> TokenSigner:
    return TokenSigner(KEY, timedelta(minutes=15), now)


def claims(**changes: Any) -> dict[str, Any]:
    made = {
        "sub": str(PRINCIPAL.subject),
        "customer_id": str(PRINCIPAL.customer_id),
        "key": "fingerprint",
        "scopes": ["read", "media"],
        "exp": 1_800_000_000,
        "jti": "1",
    }
    made.update(changes)
    return {name: value for name, value in made.items() if value is not None}


def test_a_token_says_what_it_was_made_for(signer: TokenSigner) -> None:
    token = signer.sign(PRINCIPAL)
    assert signer.read(token.token) == Claims(
        PRINCIPAL.subject,
        PRINCIPAL.customer_id,
        "fingerprint",
        frozenset({Scope.READ, Scope.MEDIA}),
        None,
        datetime(2026, 1, 2, 0, 15, tzinfo=UTC),
    )
    assert token.expires_in == 900


def test_a_token_for_one_call_says_so(signer: TokenSigner) -> None:
    call_id = new_id()
    token = signer.sign(dataclasses.replace(PRINCIPAL, call_id=call_id))
    read = signer.read(token.token)
    assert read is not None
    assert read.call_id == token.call_id == call_id


def test_a_token_holds_nothing_but_its_claims(signer: TokenSigner) -> None:
    payload = jwt.decode(signer.sign(PRINCIPAL).token, options={"verify_signature": False})
    assert set(payload) == {"sub", "customer_id", "key", "scopes", "exp", "jti"}


def test_a_token_ends(signer: TokenSigner, now: Now) -> None:
    token = signer.sign(PRINCIPAL)
    now.time += timedelta(minutes=14, seconds=59)
    assert signer.read(token.token) is not None
    now.time += timedelta(seconds=1)
    assert signer.read(token.token) is None


@pytest.mark.parametrize("missing", ["sub", "customer_id", "key", "scopes", "exp", "jti"])
def test_every_claim_is_needed(signer: TokenSigner, missing: str) -> None:
    assert signer.read(jwt.encode(claims(**{missing: None}), KEY, algorithm="HS256")) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "admin"}, {"customer_id": "5"}, {"scopes": "all"}, {"scopes": [1]}, {"scopes": 3},
        {"call_id": "5"}, {"call_id": 5},
        {"exp": "soon"}, {"exp": 1}, {"exp": 10**18}, {"customer_id": 5},
    ],
)  # fmt: skip
def test_claims_that_make_no_sense(signer: TokenSigner, changes: dict[str, Any]) -> None:
    assert signer.read(jwt.encode(claims(**changes), KEY, algorithm="HS256")) is None


def test_only_our_key_and_only_our_algorithm(signer: TokenSigner) -> None:
    assert signer.read(jwt.encode(claims(), KEY, algorithm="HS256")) is not None
    other = KEY[::-1] * 2
    assert signer.read(jwt.encode(claims(), other, algorithm="HS256")) is None
    assert signer.read(jwt.encode(claims(), KEY * 2, algorithm="HS512")) is None
    assert signer.read(jwt.encode(claims(), None, algorithm="none")) is None


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "....", "ec_1", "é.é.é"])
def test_what_is_no_token(signer: TokenSigner, text: str) -> None:
    assert signer.read(text) is None
