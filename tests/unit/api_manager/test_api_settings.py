"""The settings: what is refused at start rather than found out later."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.api_manager.world import ADMIN_KEY, JWT_KEY, World


def test_secrets_are_masked() -> None:
    shown = World().settings.model_dump_json()
    assert JWT_KEY not in shown
    assert ADMIN_KEY not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"jwt_key": "short"},
        {"admin_accesskey": "ec_short"},
        {"admin_accesskey": "x." * 20},
        {"http_listen": "8080"},
        {"accesskey_cache_seconds": 6},
        {"request_seconds": 30},
        {"trusted_proxies": "10.0.0.0/8, somewhere"},
        {"jwt_seconds": 86400},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        World(**wrong)


def test_lists_are_separated_by_commas() -> None:
    settings = World(trusted_proxies="10.0.0.0/8, 192.0.2.1", cors_origins="https://a, https://b")
    assert [str(network) for network in settings.settings.proxy_networks] == [
        "10.0.0.0/8",
        "192.0.2.1/32",
    ]
    assert settings.settings.allowed_origins == ["https://a", "https://b"]
