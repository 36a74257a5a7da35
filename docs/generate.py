"""`make docs`: writes the pages of docs/ that are generated from the code."""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs import asyncapi, metrics_reference, settings_reference, states
from flow_manager import documentation

FOLDER = Path(__file__).parent

PAGES: Mapping[str, Callable[[], str]] = {
    "flows.md": documentation.render,
    "media-streams.asyncapi.json": asyncapi.render,
    "metrics.md": metrics_reference.render,
    "settings.md": settings_reference.render,
    "states.md": states.render,
}


def main() -> None:
    """Writes every generated page."""
    for name, render in PAGES.items():
        (FOLDER / name).write_text(render())


if __name__ == "__main__":
    main()
