"""What a user may choose about the lab: where its network is and how big the farm is.

Read from `.lab/settings.toml` (written with the defaults at the first set-up), then from
`EVERCALL_LAB_<NAME>` environment variables, which win.
"""

import dataclasses
import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.lab.errors import LabError

ENVIRONMENT_PREFIX = "EVERCALL_LAB_"

# The address plan gives each kind of process nine addresses.
_MOST_OF_A_KIND = 9
_MOST = {"shards": 64, "dial_timeout": 600, "rabbitmq": 3}

_HELP = {
    "network": "first two numbers of the lab's addresses: one lab per prefix can run at a time",
    "rabbitmq": "nodes of the broker, 1 or 3 in a cluster: to change it, start from an empty .lab/var",
    "kamailio": "how many Kamailio",
    "rtpengine": "how many RTPEngine",
    "asterisk_call": "how many Asterisk of the call farm; each brings its asterisk_proxy",
    "api_manager": "how many api_manager",
    "call_manager": "how many call_manager",
    "flow_manager": "how many flow_manager",
    "media_manager": "how many media_manager",
    "route_manager": "how many route_manager",
    "shards": "actor shards per service, each a queue: to change it, start from an empty .lab/var",
    "dial_timeout": "seconds that a placed call may ring; short, for those who wait for it",
    "log_level": "of our services: debug, info, warning, error",
    "log_format": "of our services: json, console",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The lab's settings with their defaults."""

    network: str = "127.20"
    rabbitmq: int = 1
    kamailio: int = 2
    rtpengine: int = 1
    asterisk_call: int = 2
    api_manager: int = 1
    call_manager: int = 2
    flow_manager: int = 1
    media_manager: int = 2
    route_manager: int = 1
    shards: int = 8
    dial_timeout: int = 15
    log_level: str = "info"
    log_format: str = "json"


def load_settings(file: Path, environment: Mapping[str, str]) -> Settings:
    """Defaults, overlaid by `file` where it exists, overlaid by the environment.

    Raises:
        LabError: a name is unknown or a value is not acceptable.
    """
    values = _from_file(file) | _from_environment(environment)
    for name, value in values.items():
        _check(name, value)
    return Settings(**values)


def default_file() -> str:
    """The text of a fresh settings file."""
    lines = ["# Settings of the lab. Each can also be given as an environment variable:"]
    lines += [
        f"# {ENVIRONMENT_PREFIX}<NAME in capitals>. They take effect at the next `make up`.",
        "",
    ]
    for field in dataclasses.fields(Settings):
        value = f'"{field.default}"' if isinstance(field.default, str) else field.default
        lines += [f"# {_HELP[field.name]}", f"{field.name} = {value}", ""]
    return "\n".join(lines)


def _from_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as fault:
        raise LabError(f"{file} is not TOML: {fault}", "mend it, or remove it") from fault


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, text in environment.items():
        if key.startswith(ENVIRONMENT_PREFIX):
            values[key.removeprefix(ENVIRONMENT_PREFIX).lower()] = (
                int(text) if text.isdecimal() else text
            )
    return values


def _check(name: str, value: object) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    if name not in defaults:
        raise LabError(f"there is no setting {name!r}", f"known are: {', '.join(defaults)}")
    if type(value) is not type(defaults[name]):
        kind = "a number" if isinstance(defaults[name], int) else "a text"
        raise LabError(f"setting {name} is {value!r}", f"it must be {kind}")
    if name == "network":
        _check_network(str(value))
    elif isinstance(value, int):
        most = _MOST.get(name, _MOST_OF_A_KIND)
        if not 1 <= value <= most:
            raise LabError(f"setting {name} is {value}", f"it must be 1 to {most}")
        if name == "rabbitmq" and value == 2:
            raise LabError("setting rabbitmq is 2", "it must be 1 or 3: one of two is no majority")


def _check_network(prefix: str) -> None:
    try:
        inside = ipaddress.IPv4Address(f"{prefix}.0.1").is_loopback
    except ipaddress.AddressValueError:
        inside = False
    if not inside or prefix == "127.0":
        raise LabError(f"setting network is {prefix!r}", "it must be 127.1 to 127.255")
