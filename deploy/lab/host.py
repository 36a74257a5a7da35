"""What the lab needs of the host: a few Debian packages, user namespaces, free addresses.

Installing those packages is the only change that the lab ever makes outside its folder.
"""

import os
import pwd
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.errors import LabError
from deploy.lab.paths import PROJECT
from deploy.lab.plan import Endpoint

# program: the Debian package that brings it
_PROGRAMS = {"mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap", "setpriv": "util-linux"}
# What mmdebstrap needs besides when it is not run by root.
_PROGRAMS_OF_A_USER = {"newuidmap": "uidmap"}


def missing_packages() -> list[str]:
    """Debian packages that the lab needs and the host has not."""
    programs = _PROGRAMS if os.geteuid() == 0 else _PROGRAMS | _PROGRAMS_OF_A_USER
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return [package for name, package in programs.items() if shutil.which(name, path=path) is None]


def install(packages: Sequence[str], log: Path) -> None:
    """Install Debian packages as root or by sudo without a password; else say what to type.

    Raises:
        LabError: neither is possible, or apt-get failed.
    """
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    remedy = f"sudo apt-get update && sudo {shlex.join(command)}"
    if shutil.which("apt-get") is None:
        raise LabError(f"missing: {', '.join(packages)}", "install them; this is no Debian")
    as_root = _as_root()
    if as_root is None:
        raise LabError(f"missing Debian packages: {', '.join(packages)}", remedy)
    with log.open("ab") as output:
        for argv in (["apt-get", "update"], command):
            line = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", *argv]
            done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    if done.returncode != 0:
        raise LabError(f"apt-get could not install {', '.join(packages)}", f"read {log}; {remedy}")


def check_user_namespaces(folder: Path) -> None:
    """Bubblewrap needs them, and must reach `folder` from inside one.

    Raises:
        LabError: some systems forbid them to ordinary users; and root, inside one, has lost the
            power to walk through folders that are closed to it.
    """
    fault = _fault_in_namespace("/")
    if fault:
        raise LabError(
            f"bubblewrap cannot make a user namespace: {fault}",
            "sudo sysctl kernel.unprivileged_userns_clone=1"
            " (where AppArmor forbids it: kernel.apparmor_restrict_unprivileged_userns=0)",
        )
    if _fault_in_namespace(str(folder)):
        owner = _user_name(PROJECT.stat().st_uid)
        raise LabError(
            f"{folder} lies in a folder that is closed to you when you are in a user namespace",
            f"the project belongs to {owner}: run make as that user, without sudo"
            " (it asks sudo itself for what needs root)",
        )


def _fault_in_namespace(source: str) -> str:
    argv = ["bwrap", "--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid"]
    argv += ["--ro-bind", "/", "/", "--ro-bind", source, "/mnt", "true"]
    done = subprocess.run(argv, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr.strip()


def check_subordinate_ids() -> None:
    """An ordinary user's mmdebstrap works with subordinate ids.

    Raises:
        LabError: the user has none.
    """
    if os.geteuid() == 0:
        return
    user = pwd.getpwuid(os.geteuid()).pw_name
    for file in (Path("/etc/subuid"), Path("/etc/subgid")):
        lines = file.read_text().splitlines() if file.is_file() else []
        if not any(line.startswith((f"{user}:", f"{os.geteuid()}:")) for line in lines):
            raise LabError(
                f"{user} has no subordinate ids in {file}",
                f"sudo usermod --add-subuids 200000-265535 --add-subgids 200000-265535 {user}",
            )


def _as_root() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    return ["sudo", "-n"] if allowed else None


def processes_running(argv: Sequence[str]) -> list[int]:
    """The processes that were started with exactly these words."""
    wanted = "\0".join((*argv, "")).encode()
    folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [int(folder.name) for folder in folders if _command_line(folder) == wanted]


def _command_line(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who has a socket open, as far as may be known."""

    inode: str
    uid: int

    def __str__(self) -> str:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and self._opened_by(folder):
                line = _command_line(folder).replace(b"\0", b" ").decode().strip()
                return f"process {folder.name} ({line[:100]})"
        return f"a process of {_user_name(self.uid)}"

    def _opened_by(self, folder: Path) -> bool:
        try:
            links = list((folder / "fd").iterdir())
        except OSError:
            return False
        return any(_target(link) == f"socket:[{self.inode}]" for link in links)


def check_free(endpoints: Iterable[Endpoint], prefix: str) -> None:
    """Whether each address and port can be had.

    Raises:
        LabError: one is taken; says by whom.
    """
    for endpoint in endpoints:
        if _is_free(endpoint):
            continue
        holder = _holder(endpoint)
        raise LabError(
            f"{endpoint} is taken by {holder or 'somebody'}",
            "stop it (is it the lab of another checkout? then `make down` there), or give this lab"
            f" another network than {prefix} in .lab/settings.toml",
        )


def _is_free(endpoint: Endpoint) -> bool:
    kind = socket.SOCK_STREAM if endpoint.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as own:
        if endpoint.protocol == "tcp":
            # Connections that are just closing do not hinder the servers, so not this test.
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind((endpoint.address, endpoint.port))
        except OSError:
            return False
        return True


def _holder(endpoint: Endpoint) -> _Holder | None:
    """Finds the socket in the kernel's table: proc(5), /proc/net/tcp."""
    little_endian = socket.inet_aton(endpoint.address)[::-1].hex().upper()
    wanted = (f"{little_endian}:{endpoint.port:04X}", f"00000000:{endpoint.port:04X}")
    for line in Path(f"/proc/net/{endpoint.protocol}").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1] in wanted:
            return _Holder(inode=columns[9], uid=int(columns[7]))
    return None


def _target(link: Path) -> str:
    """Empty when the file was closed meanwhile."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _user_name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user id {uid}"
