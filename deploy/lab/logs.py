"""`make logs`: the last lines of the logs, and what comes after, while somebody watches."""

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

from deploy.lab.errors import LabError
from deploy.lab.lab import Lab
from deploy.lab.supervisor import log_file

_POLL_SECONDS = 0.2
_BYTES_PER_LINE = 400


def show(lab: Lab, name: str | None, lines: int, follow: bool) -> None:
    """Print the logs of one process or, each line with its process before it, of all."""
    names = [name] if name else [process.name for process in lab.farm.processes]
    files = {each: log_file(each, lab.paths) for each in names}
    there = {each: file for each, file in files.items() if file.is_file()}
    if not there:
        raise LabError("there is no log yet", f"known processes: {', '.join(_known(lab))}")
    width = max(len(each) for each in there)
    with ExitStack() as stack:
        tails = {each: stack.enter_context(Tail(file, lines)) for each, file in there.items()}
        while True:
            for each, tail in tails.items():
                for line in tail.read():
                    sys.stdout.write(f"{line}\n" if name else f"{each:<{width}} | {line}\n")
            sys.stdout.flush()
            if not follow:
                return
            time.sleep(_POLL_SECONDS)


def _known(lab: Lab) -> list[str]:
    return [process.name for process in lab.farm.processes]


class Tail:
    """Reads a log from near its end, and goes on with its successor when it is rotated."""

    def __init__(self, file: Path, lines: int) -> None:
        self._file = file
        self._stream: BinaryIO = file.open("rb")
        self._rest = b""
        self._first = lines
        self._stream.seek(max(0, file.stat().st_size - lines * _BYTES_PER_LINE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self) -> list[str]:
        """The complete lines that came since the last time."""
        *complete, self._rest = (self._rest + self._stream.read()).split(b"\n")
        if self._rotated():
            self._stream.close()
            self._stream = self._file.open("rb")
        if self._first:
            complete, self._first = complete[-self._first :], 0
        return [line.decode(errors="replace") for line in complete]

    def _rotated(self) -> bool:
        try:
            return self._file.stat().st_ino != os.fstat(self._stream.fileno()).st_ino
        except FileNotFoundError:
            return False
