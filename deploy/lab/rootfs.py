"""The root file system of the lab: how it is built, and how a program is run inside it.

The real servers come from Debian forky, whatever Debian the host is. mmdebstrap builds the tree,
bubblewrap runs one server in it. Nothing is installed on the host but those two tools.
"""

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.errors import LabError
from deploy.lab.paths import LabPaths

SUITE = "forky"

# Of each server's /tmp, which is in memory: nginx keeps there what clients upload.
_TEMPORARY_BYTES = 256 * 1024 * 1024

PACKAGES = (
    "asterisk",
    "asterisk-modules",
    "baresip-core",
    "espeak-ng",
    "kamailio",
    "kamailio-extra-modules",
    "kamailio-json-modules",
    "kamailio-tls-modules",
    "kamailio-utils-modules",
    "libnginx-mod-stream",
    "nginx",
    "postgresql",
    "rabbitmq-server",
    "rtpengine-daemon",
    "sip-tester",
    "sox",
)

# Documentation is a fifth of the tree and nobody reads it here. Copyright files stay.
_DPKG_OPTIONS = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
)

# The tree belongs to whoever builds it: a set-user-id program in it would be a hole in the host.
_CUSTOMIZE = (
    'find "$1" -xdev -type f -perm /6000 -exec chmod ug-s {} +',
    # initdb and others want a name for the user that they run as.
    'echo "lab:x:1000:1000::/tmp:/bin/sh" >>"$1/etc/passwd"',
    # The farm knows its names from /etc/hosts, and has nobody to ask on the network.
    'sed -i "s/^hosts:.*/hosts: files/" "$1/etc/nsswitch.conf"; : >"$1/etc/resolv.conf"',
)


def recipe_hash() -> str:
    """Changes when anything that decides the content of the tree changes."""
    recipe = repr((SUITE, PACKAGES, _DPKG_OPTIONS, _CUSTOMIZE))
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


def is_built(paths: LabPaths) -> bool:
    """True when `.lab/root` is complete and made from the present recipe."""
    return paths.root_stamp.is_file() and paths.root_stamp.read_text().strip() == recipe_hash()


def build(paths: LabPaths, log: Path) -> None:
    """Build the tree beside its final place, then rename: no build is ever left half done.

    Raises:
        LabError: mmdebstrap failed twice; `log` holds its output.
    """
    paths.base.mkdir(parents=True, exist_ok=True)
    fresh = paths.base / "root.new"
    # A mirror may be late, with a Release file past its date. Its signature is verified even then.
    if not _bootstrap(fresh, (), log) and not (
        "is expired" in log.read_text(errors="replace")
        and _bootstrap(fresh, ("--aptopt=Acquire::Check-Valid-Until false",), log)
    ):
        raise LabError(
            "mmdebstrap could not build the root file system",
            f"read {log}; most often the network is away: then run the same command again",
        )
    (fresh / "etc" / "evercall-recipe").write_text(recipe_hash() + "\n")
    _remove_tree(paths.root)
    fresh.rename(paths.root)


def _bootstrap(target: Path, extra: Sequence[str], log: Path) -> bool:
    make = ["mmdebstrap", "--variant=apt", "--format=tar", f"--include={','.join(PACKAGES)}"]
    make += [f"--dpkgopt={option}" for option in _DPKG_OPTIONS]
    make += [f"--customize-hook={hook}" for hook in _CUSTOMIZE]
    make += ['--aptopt=Apt::Install-Recommends "false"', *extra, SUITE, "-"]
    # By way of tar, because an ordinary user's mmdebstrap works with subordinate ids: files that
    # belong to those the user could not remove later. So each file belongs to whoever unpacks.
    unpack = ["tar", "--extract", "--no-same-owner", "--exclude=./dev/*", f"--directory={target}"]
    # If we are killed both must go, or they would write into the tree of the next attempt.
    with_us = ["setpriv", "--pdeathsig", "TERM"]
    _remove_tree(target)
    target.mkdir()
    with log.open("wb") as output:
        # In a session of its own, because it ends by sending SIGHUP to its whole process group.
        maker = subprocess.Popen(
            [*with_us, *make],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
        try:
            unpacked = subprocess.run([*with_us, *unpack], stdin=maker.stdout, stderr=output)
        except KeyboardInterrupt:
            # What the terminal would have done; alone it would finish its present step first.
            os.killpg(maker.pid, signal.SIGINT)
            raise
        finally:
            if maker.stdout is not None:
                maker.stdout.close()
            # It clears its own temporary folder, which an ordinary user could not do later.
            maker.wait()
    return maker.returncode == 0 and unpacked.returncode == 0


def _remove_tree(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of the host, shown inside. At the same path unless `target` is given."""

    source: Path
    target: str = ""
    writable: bool = False


def command(
    paths: LabPaths,
    argv: Sequence[str],
    binds: Sequence[Bind] = (),
    hostname: str = "lab",
    folder: str = "/tmp",  # noqa: S108 - inside, a tmpfs of its own
    *,
    isolated: bool = False,
) -> list[str]:
    """The command line that runs `argv` inside the root file system.

    What runs there sees the host's network, unless it is `isolated`, and its own process ids, and of the
    host's files those in `binds`. It dies with its parent. Environment variables pass through.

    It has uid 1000 in a user namespace whoever starts it: so root and an ordinary user take the
    same way, and PostgreSQL, which refuses to run as root, is content.
    """
    line = ["bwrap", "--die-with-parent", "--unshare-user", "--uid", "1000", "--gid", "1000"]
    line += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", hostname]
    line += ["--unshare-net"] if isolated else []
    for part in ("usr", "etc", "var/lib"):
        line += ["--ro-bind", str(paths.root / part), f"/{part}"]
    for name in ("bin", "sbin", "lib", "lib64"):
        line += ["--symlink", f"usr/{name}", f"/{name}"]
    line += ["--dir", "/run", "--symlink", "/run", "/var/run"]
    line += ["--proc", "/proc", "--dev", "/dev"]
    line += ["--size", str(_TEMPORARY_BYTES), "--tmpfs", "/tmp"]  # noqa: S108
    # Asterisk resolves its own host name for every call, so all names of the farm are known here.
    line += ["--ro-bind-try", str(paths.etc / "hosts"), "/etc/hosts"]
    for bind in binds:
        kind = "--bind" if bind.writable else "--ro-bind"
        line += [kind, str(bind.source), bind.target or str(bind.source)]
    return [*line, "--chdir", folder, "--", *argv]
