"""The picture of a soak: small panels over one time axis, kills as vertical lines."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.accounting import group_of
from tests.bench.soak.record import ProcessSample, Record
from tests.bench.soak.verdict import GROWING, MIB

Line = tuple[list[float], list[float]]
"""Minutes and values."""

MOST_NAMES = 8
"""Lines with a name in the legend; the rest is drawn without."""


def draw(record: Record, modules: set[str], file: Path) -> None:
    """Writes the picture as PNG. `modules`: the groups of processes that are our own."""
    figure = Figure(figsize=(18, 12), layout="constrained")
    panels = figure.subplots(3, 3, sharex=True).flatten()
    ours = [one for one in record.processes if group_of(one.name) in modules]
    servers = [one for one in record.processes if group_of(one.name) not in modules]
    _panel(panels[0], "memory of our processes, MiB", _lines(ours, lambda one: one.memory / MIB))
    _panel(panels[1], "memory of the servers, MiB", _lines(servers, lambda one: one.memory / MIB))
    _panel(panels[2], "processor, cores", _cores(record.processes))
    opened = _lines(ours, lambda one: float(one.descriptors))
    _panel(panels[3], "descriptors of our processes", opened)
    opened = _lines(servers, lambda one: float(one.descriptors))
    _panel(panels[4], "descriptors of the servers", opened)
    _panel(panels[5], "calls/s begun and failed, calls up", _calls(record))
    _panel(panels[6], "messages in the queues", _queues(record))
    _panel(panels[7], "rows of the other tables", _tables(record, growing=False))
    _panel(panels[8], "rows of tables that grow with the calls", _tables(record, growing=True))
    for panel in panels:
        for kill in record.kills:
            panel.axvline(kill.at / 60, color="0.8", linewidth=0.8, zorder=0)
    for panel in panels[6:]:
        panel.set_xlabel("minutes")
    title = f"{record.rate:g} calls/s, {record.seconds / 60:g} min, {len(record.kills)} kills"
    figure.suptitle(f"{title} (seed {record.seed})")
    figure.savefig(file, dpi=80, format="png")


def _panel(panel: Axes, title: str, lines: Mapping[str, Line]) -> None:
    panel.set_title(title, fontsize=10)
    last = sorted(lines, key=lambda name: lines[name][1][-1], reverse=True)
    for index, name in enumerate(last):
        minutes, values = lines[name]
        panel.plot(minutes, values, linewidth=1, label=name if index < MOST_NAMES else None)
    panel.set_ylim(bottom=0)
    if lines:
        panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _lines(
    samples: Iterable[ProcessSample], value: Callable[[ProcessSample], float]
) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    for sample in samples:
        minutes, values = lines.setdefault(sample.name, ([], []))
        minutes.append(sample.at / 60)
        values.append(value(sample))
    return lines


def _cores(samples: Iterable[ProcessSample]) -> dict[str, Line]:
    """By group: what its processes used from each sample to the next. A process that was killed begins anew."""
    used: dict[str, dict[float, float]] = {}
    before: dict[str, ProcessSample] = {}
    for sample in samples:
        last, before[sample.name] = before.get(sample.name), sample
        if last is None or last.pid != sample.pid or sample.at <= last.at:
            continue
        moments = used.setdefault(group_of(sample.name), {})
        # Children that have ended take their time with them.
        cores = max(0.0, sample.cpu - last.cpu) / (sample.at - last.at)
        moments[sample.at / 60] = moments.get(sample.at / 60, 0.0) + cores
    return {name: (list(moments), list(moments.values())) for name, moments in used.items()}


def _calls(record: Record) -> dict[str, Line]:
    lines: dict[str, Line] = {"begun": ([], []), "failed": ([], []), "up": ([], [])}
    for before, after in zip(record.calls, record.calls[1:], strict=False):
        seconds = after.at - before.at
        if seconds <= 0:
            continue
        values = {
            "begun": (after.begun - before.begun) / seconds,
            "failed": (after.failed - before.failed) / seconds,
            "up": float(after.live),
        }
        for name, value in values.items():
            lines[name][0].append(after.at / 60)
            lines[name][1].append(value)
    return {name: line for name, line in lines.items() if line[0]}


def _queues(record: Record) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    for sample in record.queues:
        for name, count in {**sample.messages, "(queues)": sample.queues}.items():
            minutes, values = lines.setdefault(name, ([], []))
            minutes.append(sample.at / 60)
            values.append(float(count))
    return lines


def _tables(record: Record, *, growing: bool) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    for sample in record.tables:
        for name, rows in sample.rows.items():
            if (name in GROWING) != growing:
                continue
            minutes, values = lines.setdefault(name, ([], []))
            minutes.append(sample.at / 60)
            values.append(float(rows))
    return lines
