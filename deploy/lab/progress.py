"""Tells the user what goes on: one line per step, with its time; live where there is a terminal."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_FRAMES = "|/-\\"
_TICK_SECONDS = 0.1


class Progress:
    """Prints steps. `detail` shows what a running step waits for."""

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self._output = output
        self._live = output.isatty()
        self._detail = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show a step while the block runs."""
        self._detail = ""
        begun = time.monotonic()
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(name, begun, done), daemon=True)
        if self._live:
            ticker.start()
        try:
            yield
        except BaseException:
            self._end(ticker, done, "failed", name, begun)
            raise
        self._end(ticker, done, "ok", name, begun)

    def detail(self, text: str) -> None:
        """Say what the present step is at."""
        self._detail = text

    def say(self, text: str) -> None:
        """A line of its own, between steps."""
        print(text, file=self._output, flush=True)

    def _tick(self, name: str, begun: float, done: threading.Event) -> None:
        frame = 0
        while not done.wait(_TICK_SECONDS):
            frame = (frame + 1) % len(_FRAMES)
            elapsed = time.monotonic() - begun
            line = f"  {_FRAMES[frame]}      {name} {elapsed:5.1f} s  {self._detail}"
            print(f"\r\033[K{line[:100]}", end="", file=self._output, flush=True)

    def _end(
        self, ticker: threading.Thread, done: threading.Event, mark: str, name: str, begun: float
    ) -> None:
        done.set()
        if self._live:
            ticker.join()
            print("\r\033[K", end="", file=self._output)
        elapsed = time.monotonic() - begun
        print(f"  {mark:<6} {name} ({elapsed:.1f} s)", file=self._output, flush=True)
