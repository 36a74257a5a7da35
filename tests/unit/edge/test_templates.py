"""The templates of the edge: what they ask for is what they say they ask for, and nothing is baked in."""

import re
from pathlib import Path

import jinja2
import pytest
from jinja2 import meta

_PROJECT = Path(__file__).resolve().parents[3]
_TEMPLATES = sorted(
    template
    for server in ("kamailio", "asterisk", "rtpengine")
    for template in (_PROJECT / server / "templates").glob("*.j2")
)
_NAMES = [f"{template.parents[1].name}/{template.name}" for template in _TEMPLATES]

# One of each kind of value. Addresses as they might be anywhere but in the lab.
_VALUES: dict[str, object] = {
    "ADDRESS": "10.1.2.3",
    "PORT": 5999,
    "PORTS": [5991, 5992],
    "NETWORKS": ["10.1.0.0/16", "10.2.0.1/32"],
    "DOMAINS": ["sip.example.test"],
    "SOCKETS": ["udp:10.1.2.4:22222"],
    "CODECS": ["PCMA"],
    "KEYS": ["first", "second"],
}


def _value(name: str) -> object:
    return _VALUES.get(name.rpartition("_")[2], 7)


def _asked(template: Path) -> set[str]:
    return meta.find_undeclared_variables(jinja2.Environment().parse(template.read_text()))


def _documented(template: Path) -> set[str]:
    comment = re.match(r"(?:#!KAMAILIO\n)?\{#(.*?)#\}", template.read_text(), re.DOTALL)
    if comment is None:
        return set()
    _, found, variables = comment[1].partition("\nVariables\n")
    assert found, f"{template.name}: the comment at the head has no section Variables"
    # A name begins its line; the continuation of an explanation is indented further.
    lines = re.findall(r"^  ([A-Z][A-Z0-9_]*(?:, [A-Z][A-Z0-9_]*)*)", variables, re.MULTILINE)
    return {name for line in lines for name in line.split(", ")}


def _render(template: Path, values: dict[str, object]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    return environment.get_template(template.name).render(values)


def test_there_are_templates() -> None:
    assert {name.partition("/")[0] for name in _NAMES} == {"kamailio", "asterisk", "rtpengine"}


@pytest.mark.parametrize("template", _TEMPLATES, ids=_NAMES)
def test_every_variable_is_documented_and_used(template: Path) -> None:
    assert _documented(template) == _asked(template)


@pytest.mark.parametrize("template", _TEMPLATES, ids=_NAMES)
def test_no_address_is_baked_in(template: Path) -> None:
    text = _render(template, {name: _value(name) for name in _asked(template)})
    # Sections of an RFC may have four numbers too.
    addresses = re.findall(r"(?<![§\d])(\d{1,3}(?:\.\d{1,3}){3})\b", text)
    assert [address for address in addresses if not address.startswith("10.")] == []


@pytest.mark.parametrize("template", _TEMPLATES, ids=_NAMES)
def test_a_missing_variable_is_an_error(template: Path) -> None:
    values = {name: _value(name) for name in _asked(template)}
    for name in values:
        if name.startswith("BENCH_"):
            continue  # asked for only with BENCH, which is tested to be asked for
        with pytest.raises(jinja2.UndefinedError):
            _render(template, {key: value for key, value in values.items() if key != name})


def _asterisk(name: str) -> Path:
    return _PROJECT / "asterisk" / "templates" / name


@pytest.mark.parametrize("name", ["extensions.conf.j2", "pjsip.conf.j2", "modules.conf.j2"])
def test_the_bench_is_there_only_when_asked_for(name: str) -> None:
    template = _asterisk(name)
    values = {asked: _value(asked) for asked in _asked(template)}
    with_bench = _render(template, values | {"BENCH": True})
    without = _render(template, values | {"BENCH": False})
    mark = "app_playback" if name.startswith("modules") else "[bench]"
    assert mark in with_bench
    assert mark not in without


def test_outbound_codecs_are_offered_one_by_one() -> None:
    template = _PROJECT / "kamailio" / "templates" / "kamailio.cfg.j2"
    values = {name: _value(name) for name in _asked(template)}
    text = _render(template, values | {"OUTBOUND_CODECS": ["PCMA", "G722"]})
    assert text.count(" codec-transcode=PCMA codec-transcode=G722") == 2
    assert " codec-transcode=PCMA" not in _render(template, values | {"OUTBOUND_CODECS": []})
