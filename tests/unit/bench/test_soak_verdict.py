"""Each kind of loss and leak is found by name, and a run without any is good."""

from collections.abc import Callable

import pytest

from tests.bench.soak.record import (
    CallSample,
    Outcome,
    ProcessSample,
    QueueSample,
    Record,
    TableSample,
)
from tests.bench.soak.verdict import MIB, NEAREST, State, exit_status, judge, longest_life, told

RATE, SECONDS = 10.0, 3600.0
CALLS = round(RATE * SECONDS)


def healthy(seconds: float = SECONDS) -> Record:
    """A soak in which all is well: one process of ours, one server, two kinds of tables."""
    record = Record({}, seconds, RATE, seed=1)
    for step in range(int(seconds) // 5):
        at = step * 5.0
        record.calls.append(CallSample(at, round(RATE * at), round(RATE * at), 0, 20))
        for name, pid in (("api_manager-1", 7), ("nginx", 8)):
            record.processes.append(ProcessSample(at, name, pid, 80 * MIB, 20, at / 10))
        if step % 4 == 0:
            messages = {"call_manager.shard.0": step % 3, "evercall.dead": 0}
            record.queues.append(QueueSample(at, messages, 40))
            ended = round(RATE * at)
            rows = {"call_manager.actor": ended, "call_manager.outbox": 3}
            size = {"call_manager.actor": 8192 + 2000 * ended, "call_manager.outbox": 65536}
            record.tables.append(TableSample(at, rows | {"call_manager.dead_letter": 0}, size))
    calls = round(RATE * seconds)
    record.outcome = Outcome(calls, calls, 0, 0, 0, 30.0, 80.0, 900.0, 50.0, [])
    return record


def bad(record: Record) -> set[str]:
    """The claims that do not hold."""
    return {finding.claim for finding in judge(record) if finding.state is State.BAD}


def test_a_healthy_hour_is_good() -> None:
    findings = judge(healthy())
    assert {finding.state for finding in findings} == {State.OK}
    assert exit_status(findings) == 0


def test_a_short_run_tells_of_calls_but_not_of_growth() -> None:
    findings = judge(healthy(180.0))
    told = {finding.claim: finding.state for finding in findings}
    assert told["calls"] is told["lost or stuck"] is told["dead letters"] is State.OK
    assert told["memory of nginx"] is told["queues"] is State.UNDECIDED
    assert exit_status(findings) == 2


def test_nothing_recorded_is_not_good() -> None:
    assert exit_status(judge(Record({}, SECONDS, RATE, seed=1))) == 2
    assert exit_status([]) == 2


def _leak_memory(record: Record) -> None:
    for sample in record.processes:
        if sample.name == "nginx":
            sample.memory += round(400 * RATE * sample.at)  # 400 bytes per call


def _leak_descriptors(record: Record) -> None:
    for sample in record.processes:
        if sample.name == "api_manager-1":
            sample.descriptors += int(sample.at // 300)


def _fill_queue(record: Record) -> None:
    for sample in record.queues:
        sample.messages["call_manager.shard.0"] = int(sample.at // 20)


def _leak_queues(record: Record) -> None:
    for sample in record.queues:
        sample.queues += int(sample.at // 300)


def _fill_table(record: Record) -> None:
    for sample in record.tables:
        sample.rows["call_manager.outbox"] = int(sample.at)


def _bloat_table(record: Record) -> None:
    for sample in record.tables:
        sample.bytes["call_manager.outbox"] += int(sample.at * 1000)


def _too_many_rows(record: Record) -> None:
    for sample in record.tables:
        sample.rows["call_manager.actor"] *= 3


def _dead_letter(record: Record) -> None:
    record.tables[-1].rows["call_manager.dead_letter"] = 1


def _dead_message(record: Record) -> None:
    record.queues[-1].messages["evercall.dead"] = 1


def _failed_call(record: Record) -> None:
    assert record.outcome is not None
    record.outcome.completed -= 1
    record.outcome.failed += 1


def _unmade_call(record: Record) -> None:
    assert record.outcome is not None
    record.outcome.completed -= 1


def _stuck_call(record: Record) -> None:
    assert record.outcome is not None
    record.outcome.faults.append("1 calls are left live")


def _silence(record: Record) -> None:
    assert record.outcome is not None
    record.outcome.packets_per_call = 12.0


def _never_back(record: Record) -> None:
    record.faults.append("nginx was killed: not ready")


@pytest.mark.parametrize(
    ("harm", "claim"),
    [
        (_leak_memory, "memory of nginx"),
        (_leak_descriptors, "descriptors of api_manager-1"),
        (_fill_queue, "messages in call_manager.shard.0"),
        (_leak_queues, "queues"),
        (_fill_table, "rows of call_manager.outbox"),
        (_bloat_table, "size of call_manager.outbox"),
        (_too_many_rows, "growth of call_manager.actor"),
        (_dead_letter, "dead letters"),
        (_dead_message, "dead letters"),
        (_failed_call, "calls"),
        (_unmade_call, "calls"),
        (_stuck_call, "lost or stuck"),
        (_silence, "audio"),
        (_never_back, "measurement"),
    ],
)
def test_a_harm_is_found_and_nothing_else(harm: Callable[[Record], None], claim: str) -> None:
    record = healthy()
    harm(record)
    assert bad(record) == {claim}
    assert exit_status(judge(record)) == 1


def test_a_table_that_is_meant_to_grow_is_named_with_its_growth() -> None:
    (text,) = (one.text for one in judge(healthy()) if one.claim == "growth of call_manager.actor")
    assert text == "1.00 rows and 2000 bytes per call (limit 2 rows)"


def test_what_is_bad_is_told_and_what_is_far_from_its_limit_is_counted() -> None:
    record = healthy()
    _fill_queue(record)
    lines = told(judge(record))
    series = [line for line in lines if line.used is not None]
    assert series[0].claim == "messages in call_manager.shard.0"
    assert len(series) == 1 + min(NEAREST, len(series) - 1)
    counted = [line for line in lines if line.claim == "growth"]
    assert [line.state for line in counted] == [State.OK]
    short = [line.text for line in told(judge(healthy(180.0))) if line.state is State.UNDECIDED]
    assert short == ["11 series of memory, descriptors, queues and tables"]


def test_memory_is_judged_between_kills_and_after_the_warm_up() -> None:
    """Lives of 1000 s, 2000 s and 600 s: the second counts, without its first three minutes."""
    lives = [(1, range(0, 1000, 5)), (2, range(1000, 3000, 5)), (3, range(3000, 3600, 5))]
    samples = [ProcessSample(at, "a-1", pid, 1, 1, 0.0) for pid, ats in lives for at in ats]
    life = longest_life(samples)
    assert {sample.pid for sample in life} == {2}
    assert (life[0].at, life[-1].at) == (1180, 2995)


def test_a_process_that_never_lived_long_has_no_window() -> None:
    assert longest_life([ProcessSample(5.0, "a-1", 1, 1, 1, 0.0)]) == []
