"""The packets, messages and files of tests/data/media, and how an independent eye measures audio."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

QUICK = settings(max_examples=60, deadline=None)
"""No deadline, since the machine may be busy; few examples, so that all of them take seconds."""

DATA = Path(__file__).parents[2] / "data" / "media"


def files(folder: str) -> list[object]:
    """A parameter for each file of a folder, named after it."""
    found = sorted((DATA / folder).iterdir())
    assert found, f"no fixtures in {folder}"
    return [pytest.param(file, id=file.stem) for file in found]


def code_of(file: Path) -> str:
    """The code that a bad file's name promises."""
    return file.stem.partition("-")[0]


def packets(name: str) -> list[bytes]:
    """The packets of a captured stream."""
    return list(_packets((DATA / "rtp" / "streams" / f"{name}.packets").read_bytes()))


def _packets(data: bytes) -> Iterator[bytes]:
    while data:
        length = int.from_bytes(data[:2], "big")
        yield data[2 : 2 + length]
        data = data[2 + length :]


def linear(samples: NDArray[np.float64]) -> bytes:
    """Samples as 16-bit little-endian bytes."""
    return np.rint(samples).clip(-32768, 32767).astype("<i2").tobytes()


def sine(frequency: float, seconds: float, rate: int = 8000, amplitude: float = 10_000) -> bytes:
    """A sine that begins at its zero."""
    time = np.arange(round(seconds * rate)) / rate
    return linear(amplitude * np.sin(2 * np.pi * frequency * time))


def spectrum_peak(data: bytes, rate: int) -> float:
    """The loudest frequency."""
    samples = np.frombuffer(data, "<i2") * np.hanning(len(data) // 2)
    power = np.abs(np.fft.rfft(samples, 1 << 18))
    return float(power.argmax() * rate / (1 << 18))


def rms(data: bytes) -> float:
    """The root of the mean square."""
    return float(np.sqrt((np.frombuffer(data, "<i2").astype(np.float64) ** 2).mean()))
