"""A picture is drawn of whatever was recorded, however little."""

from pathlib import Path

from tests.bench.soak.plot import draw
from tests.bench.soak.record import (
    CallSample,
    Kill,
    ProcessSample,
    QueueSample,
    Record,
    TableSample,
)


def test_a_soak_of_two_samples_has_a_picture(tmp_path: Path) -> None:
    record = Record({}, 10.0, 1.0, seed=1)
    for at in (0.0, 5.0):
        record.processes.append(ProcessSample(at, "call_manager-1", 1, 1000, 5, at))
        record.processes.append(ProcessSample(at, "nginx", 2, 1000, 5, at))
        record.queues.append(QueueSample(at, {"evercall.dead": 0}, 3))
        record.tables.append(TableSample(at, {"call_manager.actor": 1, "a.b": 2}, {}))
        record.calls.append(CallSample(at, 1, 1, 0, 0))
    record.kills.append(Kill(3.0, "call_manager-1", 1.0))
    draw(record, {"call_manager"}, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_a_soak_that_recorded_nothing_has_an_empty_one(tmp_path: Path) -> None:
    draw(Record({}, 10.0, 1.0, seed=1), set(), tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
