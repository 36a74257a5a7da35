"""The page at `/docs`: the OpenAPI document as plain HTML, with no script and nothing from elsewhere."""

import json
from html import escape
from typing import Any

from api_manager.documentation import markdown
from api_manager.documentation.media_streams import UPGRADED
from api_manager.documentation.reasons import REASONS
from api_manager.documentation.schema import example_of, fields_of, reference_of, type_of
from api_manager.documentation.style import STYLE

Document = dict[str, Any]


def render_page(document: Document) -> str:
    """The whole page."""
    info = document["info"]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])}</title><style>{STYLE}</style></head><body>
<nav>{_navigation(document)}</nav>
<main><h1>{escape(info["title"])} <small>{escape(info["version"])}</small></h1>
{markdown.render(info["description"])}
{_reasons()}
{"".join(_tag(document, tag) for tag in document["tags"])}
<h2 id="schemas">Schemas</h2>
{"".join(_schema(document, name) for name in _schema_names(document))}
</main></body></html>"""


def _navigation(document: Document) -> str:
    parts = ['<a class="top" href="#top">Evercall API</a>']
    for line in document["info"]["description"].splitlines():
        if line.startswith("## "):
            title = line.removeprefix("## ")
            parts.append(f'<a href="#{markdown.slug(title)}">{escape(title)}</a>')
    for tag in document["tags"]:
        name = tag["name"]
        parts.append(f'<a class="tag" href="#{markdown.slug(name)}">{escape(name)}</a>')
        for path, method, operation in _operations(document, name):
            parts.append(
                f'<a class="operation" href="#{_anchor(path, method)}">{_badge(method)} '
                f"{escape(operation['summary'])}</a>"
            )
    parts.append('<a class="tag" href="#schemas">Schemas</a>')
    parts.append('<a class="raw" href="/openapi.json">openapi.json</a>')
    return "".join(parts)


def _tag(document: Document, tag: dict[str, str]) -> str:
    operations = "".join(
        _operation(document, path, method, operation)
        for path, method, operation in _operations(document, tag["name"])
    )
    return (
        f'<h2 id="{markdown.slug(tag["name"])}">{escape(tag["name"])}</h2>'
        f"<p>{markdown.inline(tag['description'])}</p>{operations}"
    )


def _operations(document: Document, tag: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag in operation["tags"]
    ]


def _operation(document: Document, path: str, method: str, operation: dict[str, Any]) -> str:
    return f"""<section id="{_anchor(path, method)}">
<h3>{_badge(method)} <span class="path">{escape(path)}</span></h3>
<p>{markdown.inline(operation.get("description", ""))}</p>
{_parameters(operation)}{_body(document, operation)}
<h4>Example</h4><pre>{escape(_command(document, path, method, operation))}</pre>
{_answer(operation)}{_errors(operation)}
</section>"""


def _parameters(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code>{_required(parameter['required'])}</td>"
        f"<td>{escape(parameter['in'])}</td>"
        f"<td>{escape(type_of(parameter['schema']))}</td>"
        f"<td>{markdown.inline(parameter.get('description', ''))}{_bounds(parameter['schema'])}</td>"
        "</tr>"
        for parameter in operation.get("parameters", ())
    )
    return f"<h4>Parameters</h4><table>{rows}</table>" if rows else ""


def _body(document: Document, operation: dict[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    name = reference_of(_body_schema(operation))
    return f"<h4>Body</h4>{_fields(document['components']['schemas'][name])}"


def _body_schema(operation: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def _fields(schema: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(field.name)}</code>{_required(field.required)}</td>"
        f"<td>{_link(field.type, field.reference)}</td>"
        f"<td>{markdown.inline(field.description)}"
        f"{f' Default: <code>{escape(field.default)}</code>.' if field.default else ''}</td></tr>"
        for field in fields_of(schema)
    )
    return f"<table>{rows}</table>"


def _answer(operation: dict[str, Any]) -> str:
    upgraded = operation["responses"].get(UPGRADED)
    if upgraded is not None:
        return f"<h4>Answer</h4><p>{UPGRADED}. {markdown.inline(upgraded['description'])}</p>"
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    return f"<h4>Answer</h4><p>{_link(type_of(schema), reference_of(schema))}</p>"


def _errors(operation: dict[str, Any]) -> str:
    statuses = ", ".join(
        status for status in operation["responses"] if status not in ("200", UPGRADED)
    )
    return f'<p class="errors">Errors: {statuses}</p>'


def _command(document: Document, path: str, method: str, operation: dict[str, Any]) -> str:
    shown = path.replace("{id}", "$ID")
    if UPGRADED in operation["responses"]:
        return f'python -m websockets "$WS{shown}?encapsulation=rtp&token=$TOKEN"'
    command = f"curl -X {method.upper()} $API{shown}"
    if operation["security"]:
        command += " \\\n  -H 'Authorization: Bearer ec_…'"
    if "requestBody" not in operation:
        return command
    body = example_of(_body_schema(operation), document["components"]["schemas"])
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return f"{command} \\\n  -H 'Content-Type: application/json' \\\n  -d '{text}'"


def _reasons() -> str:
    rows = "".join(
        f"<tr><td><code>{name}</code></td><td>{reason.http_status}</td>"
        f"<td>{markdown.inline(reason.meaning)}</td></tr>"
        for name, reason in REASONS.items()
    )
    return f"<table>{rows}</table>"


def _schema_names(document: Document) -> list[str]:
    """All schemas that something links to; the bodies of requests stand with their operations."""
    operations = (each for methods in document["paths"].values() for each in methods.values())
    linking = [document["components"], *(operation["responses"] for operation in operations)]
    text = json.dumps(linking)
    return [
        name
        for name in sorted(document["components"]["schemas"])
        if f'"#/components/schemas/{name}"' in text
    ]


def _schema(document: Document, name: str) -> str:
    schema = document["components"]["schemas"][name]
    content = _fields(schema) if "properties" in schema else f"<p>{escape(type_of(schema))}</p>"
    text = markdown.inline(schema.get("description", "").replace("\n", " "))
    return f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3><p>{text}</p>{content}</section>'


def _link(text: str, reference: str) -> str:
    if not reference:
        return escape(text)
    return f'<a href="#schema-{escape(reference)}">{escape(text)}</a>'


def _badge(method: str) -> str:
    return f'<b class="{method}">{method.upper()}</b>'


def _required(required: bool) -> str:
    return ' <i title="required">*</i>' if required else ""


def _bounds(schema: dict[str, Any]) -> str:
    if "minimum" not in schema:
        return ""
    return f" {schema['minimum']} to {schema['maximum']}, default {schema['default']}."


def _anchor(path: str, method: str) -> str:
    return markdown.slug(f"{method} {path}")
