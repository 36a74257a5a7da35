"""What a user may choose, and what is refused."""

from pathlib import Path

import pytest

from deploy.lab.errors import LabError
from deploy.lab.settings import Settings, default_file, load_settings


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "absent.toml", {}) == Settings()


def test_the_file_that_is_written_first_says_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(default_file())
    assert load_settings(file, {}) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('network = "127.21"\nkamailio = 3\n')
    environment = {"EVERCALL_LAB_KAMAILIO": "4", "EVERCALL_LAB_LOG_LEVEL": "debug", "HOME": "/"}
    assert load_settings(file, environment) == Settings(
        network="127.21", kamailio=4, log_level="debug"
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("kamailios = 2", "no setting 'kamailios'"),
        ('kamailio = "two"', "must be a number"),
        ("kamailio = true", "must be a number"),
        ("kamailio = 0", "must be 1 to 9"),
        ("kamailio = 10", "must be 1 to 9"),
        ("shards = 65", "must be 1 to 64"),
        ("network = 127", "must be a text"),
        ('network = "10.0"', "must be 127.1 to 127.255"),
        ('network = "127.0"', "must be 127.1 to 127.255"),
        ('network = "127.300"', "must be 127.1 to 127.255"),
        ("kamailio = ", "is not TOML"),
    ],
)
def test_what_cannot_be_is_refused_with_a_way_out(
    tmp_path: Path, line: str, complaint: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(line + "\n")
    with pytest.raises(LabError, match=complaint):
        load_settings(file, {})


def test_an_unknown_environment_variable_of_the_lab_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no setting 'asterisks'"):
        load_settings(tmp_path / "absent.toml", {"EVERCALL_LAB_ASTERISKS": "2"})
