"""Markup of strangers: what is kept of it, and what is not."""

import re
from xml.etree import ElementTree as Tree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_manager.audio.errors import AudioError
from call_manager.audio.ssml import (
    DEEPEST,
    LONGEST_BREAK_MS,
    LONGEST_BREAKS_MS,
    MOST_ELEMENTS,
    harmless,
    is_marked_up,
)


@pytest.mark.parametrize(
    ("text", "is_markup"),
    [
        ("<speak>hi</speak>", True),
        (" \n<speak version='1.1'>hi</speak>", True),
        ("<?xml version='1.0'?><speak>hi</speak>", True),
        ("hello <speak>", False),
        ("<speaker>", False),
        ("", False),
    ],
)
def test_what_counts_as_markup(text: str, is_markup: bool) -> None:
    assert is_marked_up(text) is is_markup


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("hi &amp; &lt;bye&gt;", "hi &amp; &lt;bye&gt;"),
        ('<p><s>a</s></p><emphasis level="strong">b</emphasis>', None),
        ('<prosody rate="+20%" pitch="low" volume="x-soft">slow</prosody>', None),
        ('<say-as interpret-as="characters">abc</say-as>', None),
        ('<sub alias="World Wide Web">WWW</sub>', None),
        ('a<break time="300ms"/>b<break/>', None),
        # What opens files, names voices, or is not known: its text is kept, and nothing else.
        ('<audio src="/etc/passwd">beep</audio>', "beep"),
        ('<audio src="file:///x"/>', ""),
        ('<voice name="../../x">hi</voice>', "hi"),
        ('<mark name="x"/><lexicon uri="http://x"/>hi', "hi"),
        ('<prosody rate="1e9">fast</prosody>', "<prosody>fast</prosody>"),
        ('<p onclick="x">a</p>', "<p>a</p>"),
        ("<speak>again</speak>", "again"),
        ("<!-- not said --><?php not said ?>said", "said"),
        ("<![CDATA[<audio src='/x'/>]]>", "&lt;audio src='/x'/&gt;"),
    ],
)
def test_what_is_kept(given_text: str, kept: str | None) -> None:
    expected = given_text if kept is None else kept
    assert harmless(f"<speak version='1.0'>{given_text}</speak>") == f"<speak>{expected}</speak>"


def test_breaks_have_an_end() -> None:
    breaks = '<break time="999999s"/>' * 100
    lengths = [int(found) for found in re.findall(r"(\d+)ms", harmless(f"<speak>{breaks}</speak>"))]
    assert max(lengths) == LONGEST_BREAK_MS
    assert sum(lengths) == LONGEST_BREAKS_MS


@pytest.mark.parametrize(
    "text",
    [
        "<speak>hi",
        "<speak>a & b</speak>",
        "<speak>&unknown;</speak>",
        '<!DOCTYPE speak [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><speak>&b;</speak>',
        '<!DOCTYPE speak SYSTEM "file:///etc/passwd"><speak>hi</speak>',
        "<speak>" + "<p>" * DEEPEST + "</p>" * DEEPEST + "</speak>",
        "<speak>" + "<s/>" * MOST_ELEMENTS + "</speak>",
        "<speak>\ud800</speak>",
        "<speak/><speak/>",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(AudioError):
        harmless(text)


@given(st.text(alphabet="<>/&;=\"' speakbrudioc![]-x1", max_size=80))
def test_whatever_comes_what_is_kept_is_well_formed(noise: str) -> None:
    try:
        kept = harmless(f"<speak>{noise}</speak>")
    except AudioError:
        return
    assert {each.tag for each in Tree.fromstring(kept).iter()} <= {
        "speak", "p", "s", "break", "sub", "emphasis", "prosody", "say-as",
    }  # fmt: skip
