"""The description of media streams for machines."""

import json
from pathlib import Path
from typing import Any

import pytest

from docs import asyncapi
from media_manager.domain import control
from media_manager.domain.closing import CLOSE_CODES

DOCUMENT: dict[str, Any] = json.loads(asyncapi.render())
PAGE = (Path(asyncapi.__file__).parent / "media-streams.md").read_text()
KINDS: list[Any] = [*control.SAID, *control.ASKED]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_control_frame_is_described(kind: Any) -> None:
    message = DOCUMENT["components"]["messages"][kind.__name__]
    schema = DOCUMENT["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
    assert set(schema["properties"]) == {"type", *kind.__struct_fields__}
    assert schema["properties"]["type"]["enum"] == [kind.__struct_config__.tag]


def test_all_references_lead_somewhere() -> None:
    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + references(list(part.values()))
        if isinstance(part, list):
            return [found for value in part for found in references(value)]
        return []

    for reference in references(DOCUMENT):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place


def test_the_page_names_every_frame_with_its_fields() -> None:
    for kind in KINDS:
        tag = str(kind.__struct_config__.tag)
        rows = [line for line in PAGE.splitlines() if line.startswith("|") and f"`{tag}`" in line]
        fields = [name for name in kind.__struct_fields__ if name != "sequence"]
        assert any(all(f"`{name}`" in row for name in fields) for row in rows), tag


@pytest.mark.parametrize("end", CLOSE_CODES, ids=str)
def test_the_page_names_every_close_code(end: Any) -> None:
    assert f"| {CLOSE_CODES[end]} | `{end.value}` |" in PAGE
