"""The examples of docs/media-library.md run, one after the other, as whoever reads it would try them."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "media-library.md"


def test_the_examples_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == 3
    names: dict[str, object] = {}
    for example in examples:
        exec(example, names)
    assert "buffer" in names
