"""`make status`: every process with its address, state, version, process id and uptime."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deploy.lab.health import probe, service_version
from deploy.lab.lab import Lab
from deploy.lab.plan import Kind, Process
from deploy.lab.supervisor import ProcessState

_PACKAGES = {
    Kind.POSTGRESQL: "postgresql",
    Kind.EPMD: "erlang-base",
    Kind.RABBITMQ: "rabbitmq-server",
    Kind.NGINX: "nginx",
    Kind.RTPENGINE: "rtpengine-daemon",
    Kind.KAMAILIO: "kamailio",
    Kind.ASTERISK: "asterisk",
}
_HEADINGS = ("process", "address", "state", "version", "pid", "uptime")


@dataclass(frozen=True, slots=True)
class Row:
    """One process, as the user sees it."""

    process: str
    address: str
    state: str
    version: str
    pid: str
    uptime: str

    def cells(self) -> tuple[str, ...]:
        return (self.process, self.address, self.state, self.version, self.pid, self.uptime)


def rows(lab: Lab) -> list[Row]:
    """Of all processes of the farm."""
    states = lab.supervisor.states() if lab.supervisor.is_running() else {}
    versions = _package_versions(lab)

    def row(process: Process) -> Row:
        return _row(lab, process, states.get(process.name), versions)

    with ThreadPoolExecutor(max_workers=8) as workers:
        return list(workers.map(row, lab.farm.processes))


def table(found: list[Row]) -> str:
    """The rows as text, in columns."""
    lines = [_HEADINGS, *(row.cells() for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def all_ready(found: list[Row]) -> bool:
    return all(row.state == "ready" for row in found)


def _row(lab: Lab, process: Process, state: ProcessState | None, versions: dict[str, str]) -> Row:
    endpoint = process.endpoints[0]
    address = f"{endpoint.address}:{endpoint.port}"
    if state is None or state.pid == 0:
        told = "down" if state is None else state.state.lower()
        return Row(process.name, address, told, _version(process, versions), "-", "-")
    fault = probe(process, lab.farm, lab.paths)
    return Row(
        process=process.name,
        address=address,
        state=f"not ready: {fault}" if fault else "ready",
        version=_version(process, versions),
        pid=str(state.pid),
        uptime=_duration(time.time() - state.started),
    )


def _version(process: Process, versions: dict[str, str]) -> str:
    if process.kind is Kind.SERVICE:
        return service_version(process) or "-"
    return versions.get(_PACKAGES[process.kind], "-")


def _package_versions(lab: Lab) -> dict[str, str]:
    """Debian's upstream versions: `1:22.10.1+dfsg-1` is 22.10.1 to us."""
    versions: dict[str, str] = {}
    database = lab.paths.root / "var/lib/dpkg/status"
    if not database.is_file():
        return versions
    package = ""
    for line in database.read_text().splitlines():
        if line.startswith("Package: "):
            package = line.removeprefix("Package: ")
        elif line.startswith("Version: "):
            text = line.removeprefix("Version: ").rpartition(":")[2]
            versions[package] = text.partition("+")[0].partition("-")[0]
    return versions


def _duration(seconds: float) -> str:
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"
