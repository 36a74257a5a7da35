import pytest
from pydantic import ValidationError

from evercall.service.settings import ServiceSettings, parse_address


def test_an_address_is_host_and_port() -> None:
    assert parse_address("127.0.0.1:9100") == ("127.0.0.1", 9100)


@pytest.mark.parametrize("text", ["", "9100", ":9100", "host:", "host:port"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_address(text)


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERCALL_AMQP_URL", "amqp://user:secret@127.0.0.1/x")
    monkeypatch.setenv("EVERCALL_DATABASE_URL", "postgresql://user:secret@127.0.0.1/x")
    assert "secret" not in ServiceSettings().model_dump_json()


def test_a_missing_setting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERCALL_AMQP_URL", raising=False)
    with pytest.raises(ValidationError, match="amqp_url"):
        ServiceSettings()
