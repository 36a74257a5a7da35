"""Budgets are judged, numbers are shown, files are whole."""

import json
from pathlib import Path

import pytest

from tests.bench.report import Budget, Figure, Report, Section, percentile, shown, table


@pytest.mark.parametrize(
    ("budget", "value", "verdict"),
    [
        (Budget(1.0), 1.0, "ok"),
        (Budget(1.0), 1.01, "missed"),
        (Budget(100.0, at_most=False), 100.0, "ok"),
        (Budget(100.0, at_most=False), 99.0, "missed"),
        (None, 99.0, ""),
    ],
)
def test_a_figure_says_whether_it_meets_its_budget(
    budget: Budget | None, value: float, verdict: str
) -> None:
    assert Figure("key", "text", value, "ms", budget).verdict == verdict


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.12345, "0.123"),
        (4.567, "4.57"),
        (45.67, "45.7"),
        (456.7, "457"),
        (5621, "5621"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert shown(value) == text


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.5) == 7.0


def test_the_file_holds_every_figure(tmp_path: Path) -> None:
    section = Section("Title", notes=["a remark"])
    section.add("ratio", "a ratio", 1.25, "x", Budget(1.0))
    report = Report({"cores": 2}, {"quick": True}, [section], faults=["rate: why"])
    report.write(tmp_path / "bench.json")
    data = json.loads((tmp_path / "bench.json").read_text())
    assert data["figures"] == {
        "ratio": {"value": 1.25, "unit": "x", "budget": "<= 1", "met": False}
    }
    assert data["faults"] == ["rate: why"]
    assert data["notes"] == ["a remark"]
    line = table(section).splitlines()[2]
    assert line.split() == ["a", "ratio", "1.25", "x", "budget", "<=", "1", "missed"]
