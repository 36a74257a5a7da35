"""espeak-ng as a program: arguments, limits, failures. A script stands in for it."""

from pathlib import Path

import pytest

from call_manager.audio.errors import AudioError
from call_manager.gateways import speech as speaking
from call_manager.gateways.speech import EspeakSpeech

VOICES = """Pty Language       Age/Gender VoiceName          File                 Other Languages
 5  de              --/M      German             gmw/de
 2  en-us           --/M      English_(America)  gmw/en-US            (en 3)
 2  en              --/M      English            gmw/en
 5  pt-br           --/M      Portuguese         roa/pt-BR
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Lists voices; else writes down how it was called and gives back what it was told."""
    path = tmp_path / "speaker"
    path.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --voices ] && {{ cat "{tmp_path}/voices"; exit; }}\n'
        f'echo "$@" >> "{tmp_path}/calls"\n'
        "exec cat\n"
    )
    path.chmod(0o755)
    (tmp_path / "voices").write_text(VOICES)
    return path


@pytest.mark.parametrize(
    ("language", "voice", "chosen"),
    [
        ("en-US", "", "en-us"),
        ("en-AU", "", "en"),
        ("de-DE", "", "de"),
        ("pt-BR", "", "pt-br"),
        ("tlh", "", "en"),
        ("", "", "en"),
        ("--help", "", "en"),
        ("de", "f2", "de+f2"),
        ("de", "en-US-Wavenet-A", "de"),
    ],
)
async def test_languages_and_voices(program: Path, language: str, voice: str, chosen: str) -> None:
    spoken = await EspeakSpeech(str(program)).speak("hi; rm -rf $HOME", language, voice)
    assert spoken == b"hi; rm -rf $HOME"
    [call] = (program.parent / "calls").read_text().splitlines()
    assert call == f"--stdin --stdout -b 1 -v {chosen}"


async def test_marked_up_text_is_read_as_such(program: Path) -> None:
    await EspeakSpeech(str(program)).speak(" <speak>hi</speak>", "en", "")
    assert (program.parent / "calls").read_text().endswith("-m\n")


@pytest.mark.parametrize("text", ["", " \n", "x" * 5001])
async def test_texts_that_are_refused(program: Path, text: str) -> None:
    with pytest.raises(AudioError):
        await EspeakSpeech(str(program)).speak(text, "en", "")


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(AudioError, match="started"):
        await EspeakSpeech("/nonexistent/espeak-ng").speak("hi", "en", "")


async def test_a_program_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "fails"
    path.write_text("#!/bin/sh\ncat > /dev/null\nexit 3\n")
    path.chmod(0o755)
    with pytest.raises(AudioError, match="failed"):
        await EspeakSpeech(str(path)).speak("hi", "en", "")


async def test_a_program_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "DEADLINE", 0.1)
    path = tmp_path / "hangs"
    path.write_text("#!/bin/sh\nexec sleep 60\n")
    path.chmod(0o755)
    with pytest.raises(AudioError, match="too long"):
        await EspeakSpeech(str(path)).speak("hi", "en", "")
