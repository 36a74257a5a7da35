"""Waiting for processes: how long, and when not."""

import itertools

import pytest

import deploy.lab.lab as lab_module
from deploy.lab.credentials import Credentials
from deploy.lab.errors import LabError
from deploy.lab.lab import Lab
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Farm, Process
from deploy.lab.supervisor import ProcessState, Supervisor


class SupervisorOnPaper(Supervisor):
    """Says that every process runs; with `crashing`, that each time it was started anew."""

    def __init__(self, paths: LabPaths, crashing: bool) -> None:
        super().__init__(paths)
        self._moments = itertools.count() if crashing else itertools.repeat(1)

    def states(self) -> dict[str, ProcessState]:
        moment = float(next(self._moments))
        return {"nginx": ProcessState("nginx", "RUNNING", 7, moment, "")}


@pytest.fixture
def lab(farm: Farm, credentials: Credentials, paths: LabPaths) -> Lab:
    return Lab(paths, credentials, farm, SupervisorOnPaper(paths, crashing=False))


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_module, "_POLL_SECONDS", 0.001)


def answers(monkeypatch: pytest.MonkeyPatch, *faults: str) -> None:
    """What the probe says, time after time; the last for ever."""
    said = itertools.chain(faults, itertools.repeat(faults[-1]))

    def probe(_process: Process, _farm: Farm, _paths: LabPaths) -> str:
        return next(said)

    monkeypatch.setattr(lab_module, "probe", probe)


def test_it_waits_until_all_are_ready(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "refused", "refused", "")
    lab.wait_ready(["nginx"], seconds=5.0)


def test_after_its_time_it_says_what_is_missing_and_shows_the_log(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, "refused")
    lab.paths.log.mkdir(parents=True)
    (lab.paths.log / "nginx.log").write_text("first\nport 80: permission denied\n")
    with pytest.raises(LabError, match="nginx: refused") as caught:
        lab.wait_ready(["nginx"], seconds=0.01)
    assert "port 80: permission denied" in caught.value.remedy


def test_it_does_not_wait_for_what_dies_again_and_again(
    farm: Farm, credentials: Credentials, paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, "refused")
    lab = Lab(paths, credentials, farm, SupervisorOnPaper(paths, crashing=True))
    with pytest.raises(LabError, match="nginx: refused"):
        lab.wait_ready(["nginx"], seconds=3600.0)


def test_a_process_that_does_not_run_cannot_be_killed(lab: Lab) -> None:
    with pytest.raises(LabError, match="rabbitmq does not run"):
        lab.kill("rabbitmq")
