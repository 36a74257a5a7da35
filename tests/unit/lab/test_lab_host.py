"""What is said when an address is taken."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from deploy.lab.errors import LabError
from deploy.lab.host import check_free, install, missing_packages, processes_running
from deploy.lab.plan import Endpoint

ADDRESS = "127.97.0.1"


@pytest.mark.parametrize(
    ("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)]
)
def test_the_holder_of_an_address_is_named(protocol: str, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((ADDRESS, 0))
        if protocol == "tcp":
            taken.listen()
        endpoint = Endpoint(protocol, ADDRESS, taken.getsockname()[1])
        with pytest.raises(LabError, match=f"{endpoint} is taken by process {os.getpid()} "):
            check_free([endpoint], "127.97")
    check_free([endpoint], "127.97")


def test_an_address_taken_by_a_socket_on_all_addresses_is_seen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        endpoint = Endpoint("udp", ADDRESS, taken.getsockname()[1])
        with pytest.raises(LabError, match=f"process {os.getpid()} "):
            check_free([endpoint], "127.97")


def test_processes_are_found_by_their_exact_words() -> None:
    argv = ["sleep", "8.25"]
    with subprocess.Popen(argv) as process:
        # Popen returns when the descriptors are closed by execve(2), a moment before the words are in /proc.
        words = Path(f"/proc/{process.pid}/cmdline")
        until = time.monotonic() + 5.0
        while not words.read_bytes() and time.monotonic() < until:
            time.sleep(0.001)
        assert processes_running(argv) == [process.pid]
        assert processes_running(argv[:1]) == []
        process.terminate()
    assert processes_running(argv) == []


def test_without_root_the_missing_packages_are_named_with_their_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    only_apt = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr("shutil.which", lambda name, **_: only_apt.get(name))
    packages = missing_packages()
    assert packages == ["mmdebstrap", "bubblewrap", "util-linux", "uidmap"]
    command = "sudo apt-get install --yes --no-install-recommends mmdebstrap bubblewrap"
    with pytest.raises(LabError, match=command):
        install(packages, tmp_path / "log")
