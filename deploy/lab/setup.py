"""Everything that is done once: packages, root file system, database cluster, broker's cookie.

Each step looks whether it is done already, does its work beside the final place, and renames: it
can be interrupted at any moment and repeated at will.
"""

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.lab import host, rootfs
from deploy.lab.credentials import write_private
from deploy.lab.errors import LabError
from deploy.lab.lab import Lab
from deploy.lab.launch import data_folder, make_folders, postgresql_tool
from deploy.lab.plan import DATABASE, USERNAME, Kind
from deploy.lab.progress import Progress
from deploy.lab.rootfs import Bind


def set_up(lab: Lab, progress: Progress) -> None:
    """Do what is not done yet. The caller holds the lab."""
    for folder in (lab.paths.log, lab.paths.run, lab.paths.var, lab.paths.etc, lab.paths.bin):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    packages = host.missing_packages()
    if packages:
        with progress.step(f"Debian packages: {' '.join(packages)}"):
            host.install(packages, lab.paths.log / "packages.log")
    host.check_user_namespaces(lab.paths.var)
    if not rootfs.is_built(lab.paths):
        host.check_subordinate_ids()
        _refuse_while_running(lab)
        with progress.step("root file system (Debian forky; about a minute)"):
            rootfs.build(lab.paths, lab.paths.log / "root-build.log")
    for process in lab.farm.processes:
        if process.kind is not Kind.SERVICE:
            make_folders(process, lab.paths)
    _write_wrappers(lab)
    _bake_cookie(lab)
    if not (lab.paths.var / "postgresql" / "data").exists():
        with progress.step("database cluster"):
            _make_cluster(lab)
    _make_bench_sound(lab)


def _refuse_while_running(lab: Lab) -> None:
    if lab.supervisor.is_running():
        raise LabError(
            "the recipe of the root file system has changed, and servers run in the old one",
            "make down, then try again",
        )


def _write_wrappers(lab: Lab) -> None:
    """Tools that our services call on the host, and that exist inside only."""
    # It reads strangers' texts, and has nothing to do with any network.
    line = shlex.join(rootfs.command(lab.paths, ["espeak-ng"], isolated=True))
    wrapper = lab.paths.bin / "espeak-ng"
    write_private(wrapper, f'#!/bin/sh\nexec {line} "$@"\n')
    wrapper.chmod(0o700)


def _bake_cookie(lab: Lab) -> None:
    """What Erlang nodes, and rabbitmqctl, know each other by."""
    for node in lab.farm.of_kind(Kind.RABBITMQ):
        cookie = data_folder(node, lab.paths) / ".erlang.cookie"
        write_private(cookie, lab.credentials.erlang_cookie)


def _make_cluster(lab: Lab) -> None:
    process = lab.farm.named("postgresql")
    fresh = data_folder(process, lab.paths).parent / "postgresql.new"
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    write_private(fresh / "password", lab.credentials.postgresql_superuser_password)
    initdb = [postgresql_tool(lab.paths, "initdb"), "--pgdata=data", "--username=postgres"]
    initdb += ["--pwfile=password", "--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"]
    initdb += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8"]
    _inside(lab, fresh, initdb)
    # Without a network nobody can come in before the passwords are set.
    single = [postgresql_tool(lab.paths, "postgres"), "--single", "-D", "data", "postgres"]
    _inside(lab, fresh, single, _first_statements(lab))
    (fresh / "password").unlink()
    (fresh / "data").rename(data_folder(process, lab.paths) / "data")
    fresh.rmdir()


def _first_statements(lab: Lab) -> str:
    """One per line: that is how a server in single-user mode reads them."""
    password = lab.credentials.postgresql_password
    return (
        # CREATEDB, because tests make databases of their own.
        f"create role {USERNAME} login createdb password '{password}'\n"
        f"create database {DATABASE} owner {USERNAME}\n"
    )


def _inside(lab: Lab, folder: Path, argv: Sequence[str], text: str = "") -> None:
    bind = Bind(folder, "/var/lib/postgresql", writable=True)
    line = ["sh", "-c", f"cd /var/lib/postgresql && exec {shlex.join(argv)}"]
    done = subprocess.run(
        rootfs.command(lab.paths, line, [bind]), input=text, capture_output=True, text=True
    )
    if done.returncode != 0 or "ERROR" in done.stderr:
        raise LabError(f"{argv[0]} failed: {done.stderr.strip()}", "mend that, and try again")


def _make_bench_sound(lab: Lab) -> None:
    """A second of a tone in ulaw, for what bare Asterisk plays in `make bench`."""
    tone = ["sox", "-n", "-r", "8000", "-c", "1", "-t", "ul", "-", "synth", "1", "sine", "440"]
    for process in lab.farm.of_kind(Kind.ASTERISK):
        file = data_folder(process, lab.paths) / "lib" / "bench" / "second.ulaw"
        if file.exists():
            continue
        done = subprocess.run(rootfs.command(lab.paths, tone), capture_output=True, check=True)
        file.parent.mkdir(exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_bytes(done.stdout)
        fresh.rename(file)
