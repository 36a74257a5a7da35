"""Speech by espeak-ng: offline, in about a hundred languages, in some ten milliseconds a sentence."""

import asyncio
import contextlib
import os
import re
import signal
from typing import Protocol

from call_manager.audio.errors import AudioError
from call_manager.audio.ssml import harmless, is_marked_up

DEADLINE = 20.0
END_SECONDS = 2.0
MOST_SECONDS = 600
MOST_BYTES = MOST_SECONDS * 44_100
"""Of a WAV file: espeak-ng speaks with 22,050 samples of two bytes."""

CPU_SECONDS = 10
MEMORY_KILOBYTES = 1024 * 1024
_LIMITED = (
    f"ulimit -c 0; ulimit -f 0; ulimit -t {CPU_SECONDS}; ulimit -v {MEMORY_KILOBYTES};"
    ' exec "$0" "$@"'
)
"""What reads strangers' texts writes no file and has bounds. A shell sets them: between fork and exec Python
must not run beside other threads."""

LONGEST_TEXT = 5000
DEFAULT_LANGUAGE = "en"

_VARIANT = re.compile(r"[mf][1-8]")
_LISTED = re.compile(r"^\s*\d+\s+(\S+)", re.MULTILINE)


class Speech(Protocol):
    """Turns text into audio."""

    async def speak(self, text: str, language: str, voice: str) -> bytes:
        """A WAV file. Raises `AudioError`."""


class EspeakSpeech:
    """Runs `espeak-ng` for each text.

    `language` is a BCP 47 tag (`en-US`); one that espeak-ng does not have falls back to its first part, then
    to English. `voice` is one of espeak-ng's variants (`m1` … `m8`, `f1` … `f5`); names of voices of other
    products are not known here and mean the standard voice.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._languages: frozenset[str] = frozenset()

    async def speak(self, text: str, language: str, voice: str) -> bytes:
        """A WAV file.

        Raises:
            AudioError: the text is too long, or espeak-ng failed.
        """
        if not text.strip():
            raise AudioError("there is no text to speak")
        if len(text) > LONGEST_TEXT:
            raise AudioError("the text is too long")
        if not self._languages:
            listed = await self._run(b"", "--voices")
            self._languages = frozenset(_LISTED.findall(listed.decode(errors="replace")))
        options = ["--stdin", "--stdout", "-b", "1", "-v", self._voice(language, voice)]
        if is_marked_up(text):
            text = harmless(text)
            options.append("-m")
        return await self._run(text.encode(errors="replace"), *options)

    def _voice(self, language: str, voice: str) -> str:
        name = self._language(language.lower())
        return f"{name}+{voice}" if _VARIANT.fullmatch(voice) else name

    def _language(self, language: str) -> str:
        for candidate in (language, language.partition("-")[0]):
            if candidate in self._languages:
                return candidate
        return DEFAULT_LANGUAGE

    async def _run(self, text: bytes, *options: str) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _LIMITED,
                self._command,
                *options,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                # It needs none of our secrets.
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        except OSError:
            raise AudioError("espeak-ng can't be started") from None
        try:
            async with asyncio.timeout(DEADLINE):
                spoken = await _talk(process, text)
                await process.wait()
        except TimeoutError:
            raise AudioError("espeak-ng took too long") from None
        finally:
            await _end(process)
        if process.returncode == _NOT_THERE:
            raise AudioError("espeak-ng can't be started")
        if process.returncode != 0:
            raise AudioError("espeak-ng failed")
        return spoken


_NOT_THERE = 127
"""A shell's status for a program that does not exist (POSIX)."""


async def _talk(process: asyncio.subprocess.Process, text: bytes) -> bytes:
    """All that it says, as long as that is not too much."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    # One that has ended already reads nothing: uvloop says that by RuntimeError, asyncio by the other.
    with contextlib.suppress(ConnectionError, RuntimeError):
        # A text fits the pipe (64 KiB), so nobody waits for the other.
        process.stdin.write(text)
        process.stdin.close()
    spoken = bytearray()
    while piece := await process.stdout.read(65_536):
        spoken += piece
        if len(spoken) > MOST_BYTES:
            raise AudioError("the speech is too long")
    return bytes(spoken)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends it with all that it has started."""
    if process.returncode is not None or process.stdout is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            # asyncio sees the end of a process behind all that it has said.
            while await process.stdout.read(65_536):
                pass
            await process.wait()
