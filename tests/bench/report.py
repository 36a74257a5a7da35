"""Figures, their budgets, the table that is printed and the file that is written."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Budget:
    """What a figure should be: at most, or at least, `limit`."""

    limit: float
    at_most: bool = True

    def met_by(self, value: float) -> bool:
        """Whether a value is within the budget."""
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `key` is its name in the file, `text` in the table."""

    key: str
    text: str
    value: float
    unit: str
    budget: Budget | None = None

    @property
    def verdict(self) -> str:
        if self.budget is None:
            return ""
        return "ok" if self.budget.met_by(self.value) else "missed"

    def as_data(self) -> dict[str, Any]:
        """For the file."""
        data: dict[str, Any] = {"value": round(self.value, 4), "unit": self.unit}
        if self.budget is not None:
            data |= {"budget": str(self.budget), "met": self.verdict == "ok"}
        return data


@dataclass(slots=True)
class Section:
    """The figures of one part, and what a reader must know about them."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self, key: str, text: str, value: float, unit: str, budget: Budget | None = None
    ) -> None:
        """Adds a figure."""
        self.figures.append(Figure(key, text, value, unit, budget))


@dataclass(slots=True)
class Report:
    """Everything that a run found out."""

    machine: dict[str, str | int | float]
    options: dict[str, Any]
    sections: list[Section] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def write(self, file: Path) -> None:
        """Writes the file, whole or not at all."""
        data = {
            "started": self.started.isoformat(timespec="seconds"),
            "machine": self.machine,
            "options": self.options,
            "figures": {
                figure.key: figure.as_data()
                for section in self.sections
                for figure in section.figures
            },
            "notes": [note for section in self.sections for note in section.notes],
            "runs": self.runs,
            "faults": self.faults,
        }
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(data, indent=2) + "\n")
        fresh.replace(file)


def table(section: Section) -> str:
    """A section as text."""
    lines = [f"\n{section.title}"]
    for figure in section.figures:
        budget = f"budget {figure.budget}" if figure.budget else ""
        number = f"{shown(figure.value)} {figure.unit}"
        lines.append(f"  {figure.text:<48} {number:>16}   {budget:<16} {figure.verdict}".rstrip())
    lines += [f"  note: {note}" for note in section.notes]
    return "\n".join(lines)


def shown(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
