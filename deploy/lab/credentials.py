"""The lab's secrets: drawn once, kept in one file that only its owner can read."""

import dataclasses
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.errors import LabError

_RANDOM_BYTES = 24
# Access keys tell what they are, so that scanners find one that lies where it should not.
_PREFIXES = {"admin_accesskey": "ec_"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """One random text per use, so that none opens two doors. Safe in URLs and in config files."""

    postgresql_password: str
    postgresql_superuser_password: str
    rabbitmq_password: str
    erlang_cookie: str
    ari_password: str
    jwt_key: str
    dialog_keys: str
    """What Kamailio signs dialogs with; several, by commas, while keys are changed: the first signs."""
    admin_accesskey: str


def load_or_create(file: Path) -> Credentials:
    """Read the secrets; draw those that are missing."""
    kept = _read(file)
    names = [field.name for field in dataclasses.fields(Credentials)]
    values = {name: kept.get(name) or _draw(name) for name in names}
    if values != kept:
        _write(file, values)
    return Credentials(**values)


def _draw(name: str) -> str:
    return _PREFIXES.get(name, "") + secrets.token_hex(_RANDOM_BYTES)


def write_private(file: Path, text: str) -> None:
    """Replace `file` at once, readable by its owner alone from the first byte on."""
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as output:
        output.write(text)
    fresh.replace(file)


def _read(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text()))
    except ValueError as fault:
        raise LabError(
            f"{file} is not JSON",
            "restore it; or remove it together with .lab/var, which was made with its passwords",
        ) from fault


def _write(file: Path, values: dict[str, str]) -> None:
    write_private(file, json.dumps(values, indent=2) + "\n")
