"""Control frames."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_manager.domain import control
from media_manager.domain.control import (
    ClearAsked,
    MarkAsked,
    NotUnderstood,
    PauseAsked,
    ResumeAsked,
    StopAsked,
)
from tests.unit.media.samples import QUICK


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('{"type":"mark","name":"a"}', MarkAsked(name="a")),
        ('{"name":"ä€😀","type":"mark","more":[1]}', MarkAsked(name="ä€😀")),
        ('{"type":"clear"}', ClearAsked()),
        ('{"type":"pause"}', PauseAsked()),
        (' {"type": "resume"} ', ResumeAsked()),
        ('{"type":"stop"}', StopAsked()),
    ],
)
def test_what_an_application_asks(text: str, asked: control.Asked) -> None:
    assert control.decode(text.encode()) == asked


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "control_malformed"),
        (b"hello", "control_malformed"),
        (b"[]", "control_malformed"),
        (b"null", "control_malformed"),
        (b"\xff\xfe", "control_malformed"),
        (b'{"type":"mark"}', "control_malformed"),
        (b'{"type":"mark","name":5}', "control_malformed"),
        (b'{"type":"mark","name":""}', "control_malformed"),
        (b'{"type":"mark","name":"%s"}' % (b"x" * 101), "control_malformed"),
        (b'{"type":"mark","name":"\xff"}', "control_malformed"),
        (b'{"type":"mark","name":"a","x":' + b"[" * 3000 + b"]" * 900 + b"}", "control_malformed"),
        (b'{"type":' + b"[" * 4000, "control_malformed"),
        (b"{}", "control_unknown"),
        (b'{"type":5}', "control_unknown"),
        (b'{"type":"start"}', "control_unknown"),
        (b'{"type":"shout"}', "control_unknown"),
        (b'{"type":"stop","x":"%s"}' % (b"x" * 4096), "control_too_long"),
    ],
    ids=lambda value: value[:30].decode(errors="replace") if isinstance(value, bytes) else value,
)
def test_what_is_not_understood(text: bytes, code: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        control.decode(text)
    assert caught.value.code == code
    assert caught.value.message


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@QUICK
@given(
    st.binary(max_size=5000)
    | _JSON.map(msgspec.json.encode)
    | st.fixed_dictionaries(
        {"type": _JSON | st.sampled_from(["mark", "clear", "stop"])}, optional={"name": _JSON}
    ).map(msgspec.json.encode)
)
def test_anything_else_is_told_as_not_understood(text: bytes) -> None:
    outcome: control.Asked | NotUnderstood
    try:
        outcome = control.decode(text)
    except NotUnderstood as error:
        outcome = error
    assert isinstance(outcome, (*control.ASKED, NotUnderstood))


def test_every_frame_to_an_application_names_its_type_and_number() -> None:
    types = set()
    for kind in control.SAID:
        fields = msgspec.structs.fields(kind)
        assert fields[0].name == "sequence"
        types.add(kind.__struct_config__.tag)
    assert types == {
        "start",
        "dtmf",
        "marked",
        "cleared",
        "pause",
        "resume",
        "overflow",
        "behind",
        "error",
        "stop",
    }


def test_a_frame_is_one_json_object() -> None:
    text = control.encode(control.Stop(sequence=7, reason="draining"))
    assert msgspec.json.decode(text) == {"type": "stop", "sequence": 7, "reason": "draining"}
