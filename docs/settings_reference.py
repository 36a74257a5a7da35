"""Writes `docs/settings.md` from the services' settings classes."""

from collections.abc import Mapping

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import api_manager.settings
import asterisk_proxy.settings
import call_manager.settings
import flow_manager.settings
import media_manager.settings
import route_manager.settings
from evercall.service.settings import PREFIX, ServiceSettings

SERVICES: Mapping[str, type[ServiceSettings]] = {
    "api_manager": api_manager.settings.Settings,
    "asterisk_proxy": asterisk_proxy.settings.Settings,
    "call_manager": call_manager.settings.Settings,
    "flow_manager": flow_manager.settings.Settings,
    "media_manager": media_manager.settings.Settings,
    "route_manager": route_manager.settings.Settings,
}

HEAD = f"""# Settings

Written from the settings classes by `make docs`. All are environment variables with the prefix `{PREFIX}`.
`python -m <service> --print-config` shows what is in force, secrets masked."""


def render() -> str:
    """The whole page."""
    common = ServiceSettings.model_fields
    parts = [HEAD, "## Every service", _table(common)]
    for name, settings in SERVICES.items():
        own = {key: field for key, field in settings.model_fields.items() if key not in common}
        parts += [f"## {name}", _table(own) if own else "Nothing beyond the common ones."]
    return "\n\n".join(parts) + "\n"


def _table(fields: Mapping[str, FieldInfo]) -> str:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{PREFIX}{name.upper()}` | {_default(field)} | {field.description or ''} |"
        for name, field in fields.items()
    ]
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "computed"
    if field.default is PydanticUndefined:
        return "**required**"
    return f"`{field.default}`" if field.default not in ("", ()) else "empty"
