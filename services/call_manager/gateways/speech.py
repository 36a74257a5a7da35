"""Speech by espeak-ng: offline, in about a hundred languages, in some ten milliseconds a sentence."""

import asyncio
import re
from typing import Protocol

from call_manager.audio.errors import AudioError

DEADLINE = 20.0
AT_ONCE = 4
"""Sentences that are spoken at the same time; the rest waits."""

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
        self._turn = asyncio.Semaphore(AT_ONCE)
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
        if text.lstrip().startswith("<speak"):
            options.append("-m")
        return await self._run(text.encode(), *options)

    def _voice(self, language: str, voice: str) -> str:
        name = self._language(language.lower())
        return f"{name}+{voice}" if _VARIANT.fullmatch(voice) else name

    def _language(self, language: str) -> str:
        for candidate in (language, language.partition("-")[0]):
            if candidate in self._languages:
                return candidate
        return DEFAULT_LANGUAGE

    async def _run(self, text: bytes, *options: str) -> bytes:
        async with self._turn:
            try:
                process = await asyncio.create_subprocess_exec(
                    self._command,
                    *options,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                )
            except OSError:
                raise AudioError("espeak-ng can't be started") from None
            try:
                async with asyncio.timeout(DEADLINE):
                    spoken, _ = await process.communicate(text)
            except TimeoutError:
                raise AudioError("espeak-ng took too long") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode != 0:
            raise AudioError("espeak-ng failed")
        return spoken
