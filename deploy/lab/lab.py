"""One lab: its farm, its secrets, its supervisor. What tests, demo and benchmark hold on to."""

import fcntl
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.credentials import Credentials, load_or_create
from deploy.lab.errors import LabError
from deploy.lab.health import probe
from deploy.lab.paths import LabPaths, lab_paths
from deploy.lab.plan import Farm, Process, plan_farm
from deploy.lab.progress import Progress
from deploy.lab.settings import default_file, load_settings
from deploy.lab.supervisor import ProcessState, Supervisor, log_file

_POLL_SECONDS = 0.1
_MOST_STARTS = 4


@dataclass(frozen=True, slots=True)
class Lab:
    """The lab of a checkout."""

    paths: LabPaths
    credentials: Credentials
    farm: Farm
    supervisor: Supervisor

    def kill(self, name: str) -> None:
        """kill -9: the process and all that it has started end at once. The supervisor restarts it.

        Raises:
            LabError: it does not run.
        """
        os.kill(self._pid(name), signal.SIGKILL)

    def pids(self, name: str) -> list[int]:
        """The process and its descendants, as the host numbers them."""
        children: dict[int, list[int]] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                children.setdefault(_parent(folder), []).append(int(folder.name))
        found = [self._pid(name)]
        for pid in found:
            found += children.get(pid, [])
        return found

    def wait_ready(
        self, names: Iterable[str], seconds: float = 120.0, progress: Progress | None = None
    ) -> None:
        """Return when all of them do their work.

        Raises:
            LabError: one does not within that time; says what it lacks and where its log is.
        """
        waiting = [self.farm.named(name) for name in names]
        starts = _Starts()
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(max_workers=8) as workers:
            while waiting:
                faults = list(workers.map(self._probe, waiting))
                pairs = [(p, fault) for p, fault in zip(waiting, faults, strict=True) if fault]
                waiting = [process for process, _ in pairs]
                starts.see(self.supervisor.states())
                if waiting and (time.monotonic() > until or starts.too_many(waiting)):
                    raise self._not_ready(pairs)
                if progress:
                    progress.detail(", ".join(f"{process.name}" for process in waiting))
                if waiting:
                    time.sleep(_POLL_SECONDS)

    def _probe(self, process: Process) -> str:
        return probe(process, self.farm, self.paths)

    def _not_ready(self, pairs: list[tuple[Process, str]]) -> LabError:
        process = pairs[0][0]
        log = log_file(process.name, self.paths)
        last = "".join(f"\n     | {line}" for line in _last_lines(log, 8))
        return LabError(
            "not ready: " + "; ".join(f"{process.name}: {fault}" for process, fault in pairs),
            f"read {log}; its last lines:{last}",
        )

    def _pid(self, name: str) -> int:
        state = self.supervisor.states().get(name)
        if state is None or state.pid == 0:
            raise LabError(f"{name} does not run", "see `make status`")
        return state.pid

    @contextmanager
    def exclusively(self, progress: Progress | None = None) -> Iterator[None]:
        """Hold the lab, so that no other command changes it meanwhile."""
        with exclusive(self.paths, progress):
            yield


class _Starts:
    """Counts how often each process was started: one that cannot live need not be waited for."""

    def __init__(self) -> None:
        self._moments: dict[str, set[float]] = {}

    def see(self, states: Mapping[str, ProcessState]) -> None:
        for name, state in states.items():
            self._moments.setdefault(name, set()).add(state.started)

    def too_many(self, processes: Iterable[Process]) -> bool:
        return any(len(self._moments.get(p.name, ())) > _MOST_STARTS for p in processes)


def open_lab(paths: LabPaths | None = None) -> Lab:
    """The lab of this checkout. Its settings and secrets are made where they are missing."""
    paths = paths or lab_paths()
    paths.base.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not paths.settings.exists():
        paths.settings.write_text(default_file())
    settings = load_settings(paths.settings, os.environ)
    credentials = load_or_create(paths.secrets)
    farm = plan_farm(settings, credentials, paths)
    return Lab(paths, credentials, farm, Supervisor(paths))


@contextmanager
def exclusive(paths: LabPaths, progress: Progress | None = None) -> Iterator[None]:
    """One command at a time; the others wait."""
    paths.base.mkdir(parents=True, exist_ok=True, mode=0o700)
    with paths.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if progress:
                progress.say("  another lab command is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parent(folder: Path) -> int:
    """proc(5): the fourth field of stat; the second, in parentheses, may hold anything."""
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _last_lines(file: Path, count: int) -> list[str]:
    if not file.is_file():
        return []
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - 16_384))
        return log.read().decode(errors="replace").splitlines()[-count:]
