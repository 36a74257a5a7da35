"""Secrets are drawn once, and only their owner reads them."""

import json
import stat
from pathlib import Path

import pytest

from deploy.lab.credentials import load_or_create, write_private
from deploy.lab.errors import LabError


def test_secrets_are_drawn_once_and_differ(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    first = load_or_create(file)
    values = json.loads(file.read_text())
    assert len(set(values.values())) == len(values) == 8
    assert min(len(value) for value in values.values()) >= 48
    assert values["admin_accesskey"].startswith("ec_")
    assert load_or_create(file) == first


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    load_or_create(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_new_kind_of_secret_is_added_to_a_file_of_older_days(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    write_private(file, json.dumps({"jwt_key": "old"}))
    loaded = load_or_create(file)
    assert loaded.jwt_key == "old"
    assert loaded.ari_password
    assert load_or_create(file) == loaded


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text("{")
    with pytest.raises(LabError, match="is not JSON"):
        load_or_create(file)
    assert file.read_text() == "{"


def test_a_private_file_replaces_one_that_was_open_to_all(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
