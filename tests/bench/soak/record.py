"""What a soak writes down, in the order of time. `at` counts seconds from its beginning."""

import msgspec


class ProcessSample(msgspec.Struct):
    """A process of the lab with all that it started.

    `memory`: resident bytes that it shares with nobody. Pages of files and of PostgreSQL's shared buffers are not
    in it: each process shows them as its own once it has touched them, and that is no growth.
    `cpu`: seconds of processor time since it was started.
    """

    at: float
    name: str
    pid: int
    memory: int
    descriptors: int
    cpu: float


class QueueSample(msgspec.Struct):
    """Messages in the named queues, acked ones not counted; the number of all queues."""

    at: float
    messages: dict[str, int]
    queues: int


class TableSample(msgspec.Struct):
    """Rows (PostgreSQL's own estimate) and bytes (indexes and TOAST too) of each table."""

    at: float
    rows: dict[str, int]
    bytes: dict[str, int]


class CallSample(msgspec.Struct):
    """The callers' counts so far."""

    at: float
    begun: int
    completed: int
    failed: int
    live: int


class Kill(msgspec.Struct):
    """A kill -9 and how many seconds it took until the process did its work again."""

    at: float
    name: str
    away: float


class Outcome(msgspec.Struct):
    """What came of all the calls: seen by the callers, and told by the API."""

    calls: int
    completed: int
    failed: int
    late: int
    retransmissions: int
    answer_ms_p50: float
    answer_ms_p99: float
    answer_ms_most: float
    packets_per_call: float
    faults: list[str]


class Record(msgspec.Struct):
    """A soak."""

    machine: dict[str, str | int | float]
    seconds: float
    rate: float
    seed: int
    processes: list[ProcessSample] = []
    queues: list[QueueSample] = []
    tables: list[TableSample] = []
    calls: list[CallSample] = []
    kills: list[Kill] = []
    faults: list[str] = []
    outcome: Outcome | None = None
