"""espeak-ng as a program: arguments, limits, failures. A script stands in for it."""

import asyncio
import re
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
    """Lists voices; else tells how it was called and gives back what it was told."""
    path = tmp_path / "speaker"
    path.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --voices ] && {{ cat "{tmp_path}/voices"; exit; }}\n'
        'echo "$@"\n'
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
    assert spoken.decode() == f"--stdin --stdout -b 1 -v {chosen}\nhi; rm -rf $HOME"


async def test_marked_up_text_is_read_as_such(program: Path) -> None:
    text = ' <speak>hi<audio src="/etc/passwd"/></speak>'
    spoken = await EspeakSpeech(str(program)).speak(text, "en", "")
    assert spoken == b"--stdin --stdout -b 1 -v en -m\n<speak>hi</speak>"


async def test_text_that_is_no_markup_is_not_read_as_such(program: Path) -> None:
    spoken = await EspeakSpeech(str(program)).speak("a <speak>", "en", "")
    assert spoken == b"--stdin --stdout -b 1 -v en\na <speak>"


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


def script(tmp_path: Path, *lines: str) -> EspeakSpeech:
    """A program of these lines; it has no languages."""
    path = tmp_path / "speaker"
    path.write_text("\n".join(("#!/bin/sh", '[ "$1" = --voices ] && echo " 5 en" && exit', *lines)))
    path.chmod(0o755)
    return EspeakSpeech(str(path))


async def test_who_speaks_for_ever_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speaking, "MOST_BYTES", 1_000_000)
    with pytest.raises(AudioError, match="too long"):
        await script(tmp_path, "cat > /dev/null", "exec cat /dev/zero").speak("hi", "en", "")


async def test_what_it_has_started_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speaking, "DEADLINE", 0.5)
    monkeypatch.setattr(speaking, "_LIMITED", 'exec "$0" "$@"')  # so that it can tell
    told = tmp_path / "child"
    speech = script(tmp_path, f"sleep 60 & echo $! > {told}", "wait")
    speech._languages = frozenset({"en"})
    with pytest.raises(AudioError, match="too long"):
        await speech.speak("hi", "en", "")
    child = int(told.read_text())
    async with asyncio.timeout(5):
        while _is_running(child):
            await asyncio.sleep(0.01)


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_it_has_none_of_our_secrets_and_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERCALL_DATABASE_URL", "postgresql://secret")
    spoken = await script(tmp_path, "env", "ulimit -a").speak("hi", "en", "")
    told = spoken.decode()
    assert "EVERCALL" not in told
    assert re.search(r"file.*\b0$", told, re.MULTILINE)
    assert re.search(rf"\b{speaking.CPU_SECONDS}$", told, re.MULTILINE)
    assert re.search(rf"\b{speaking.MEMORY_KILOBYTES}$", told, re.MULTILINE)


async def test_a_program_that_ends_before_it_was_told_anything() -> None:
    """By the event loop that services run on, which says so in its own way."""

    class Ended:
        """As uvloop's."""

        def write(self, _: bytes) -> None:
            raise RuntimeError("the handler is closed")

        def close(self) -> None: ...

    reader = asyncio.StreamReader()
    reader.feed_data(b"said before")
    reader.feed_eof()

    class Process:
        stdin, stdout = Ended(), reader

    assert await speaking._talk(Process(), b"hi") == b"said before"  # type: ignore[arg-type]
