"""The little Markdown that our own texts use, as HTML: headings, paragraphs, lists, code."""

import html
import re
from collections.abc import Iterator

_CODE = re.compile(r"`([^`]+)`")


def inline(text: str) -> str:
    """One line or paragraph: code spans, everything else escaped."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text, quote=False))


def render(text: str) -> str:
    """A whole text."""
    return "\n".join(_block(block) for block in _blocks(text))


def _blocks(text: str) -> Iterator[str]:
    """Parts between blank lines; a fenced block is one part, whatever is in it."""
    fenced: list[str] = []
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("```"):
            if fenced:
                yield "\n".join(fenced)
                fenced = []
            else:
                fenced = ["```"]
        elif fenced:
            fenced.append(line)
        elif line.strip():
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []


def _block(block: str) -> str:
    if block.startswith("```"):
        return f"<pre>{html.escape(block.removeprefix('```').strip())}</pre>"
    if block.startswith("## "):
        title = block.removeprefix("## ")
        return f'<h2 id="{slug(title)}">{inline(title)}</h2>'
    if block.startswith("- "):
        items = (line.removeprefix("- ") for line in block.splitlines())
        return "<ul>" + "".join(f"<li>{inline(item)}</li>" for item in items) + "</ul>"
    return f"<p>{inline(block)}</p>"


def slug(title: str) -> str:
    """A heading as the target of a link."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
