"""What supervisord is told."""

import configparser
import shlex
import stat

import pytest

from deploy.lab.credentials import Credentials
from deploy.lab.errors import LabError
from deploy.lab.launch import launch, make_folders
from deploy.lab.paths import PROJECT, LabPaths
from deploy.lab.plan import Farm, Kind
from deploy.lab.render import etc_of, render_servers
from deploy.lab.supervisor import fingerprint, write_config


@pytest.fixture
def config(farm: Farm, credentials: Credentials, paths: LabPaths) -> configparser.RawConfigParser:
    render_servers(farm, credentials, paths)
    write_config(farm, paths)
    parser = configparser.RawConfigParser()
    parser.read(paths.supervisor_config)
    return parser


def test_every_process_is_kept_and_none_starts_by_itself(
    config: configparser.RawConfigParser, farm: Farm
) -> None:
    for process in farm.processes:
        section = config[f"program:{process.name}"]
        assert section["autorestart"] == "true"
        assert section["autostart"] == "false"
        assert section["killasgroup"] == "true"


def test_the_configuration_holds_secrets_and_is_private(
    config: configparser.RawConfigParser, paths: LabPaths
) -> None:
    assert "pw-broker" in config["program:call_manager-1"]["environment"]
    assert stat.S_IMODE(paths.supervisor_config.stat().st_mode) == 0o600


def test_no_secret_stands_on_a_command_line(
    config: configparser.RawConfigParser, farm: Farm
) -> None:
    """Command lines can be read by everybody on the machine."""
    for process in farm.processes:
        assert "pw-" not in config[f"program:{process.name}"]["command"]


def test_per_cent_signs_survive_the_expansion_of_supervisord(
    credentials: Credentials, farm: Farm, paths: LabPaths
) -> None:
    odd = LabPaths(base=paths.base.with_name("100% lab"), project=PROJECT)
    (odd.root / "usr/lib/postgresql/18").mkdir(parents=True)
    (odd.root / "etc").mkdir()
    odd.root_stamp.write_text("recipe")
    render_servers(farm, credentials, odd)
    write_config(farm, odd)
    parser = configparser.RawConfigParser()
    parser.read(odd.supervisor_config)
    command = parser["program:nginx"]["command"] % {}
    assert str(odd.root / "usr") in shlex.split(command)


def test_a_server_dies_with_its_children_and_stops_in_order(farm: Farm, paths: LabPaths) -> None:
    for process in farm.processes:
        if process.kind is Kind.SERVICE:
            continue
        argv = list(launch(process, farm, paths).argv)
        assert {"--unshare-pid", "--die-with-parent", "--unshare-user"} <= set(argv)
        signal = launch(process, farm, paths).stop_signal
        assert argv[1] == f"--ignore-signal={signal}"
        assert f"--default-signal={signal}" in argv


def test_every_folder_that_is_bound_is_made(
    farm: Farm, credentials: Credentials, paths: LabPaths
) -> None:
    render_servers(farm, credentials, paths)
    for process in farm.processes:
        if process.kind is Kind.SERVICE:
            continue
        make_folders(process, paths)
        argv = list(launch(process, farm, paths).argv)
        sources = [argv[i + 1] for i, word in enumerate(argv) if word == "--bind"]
        for source in sources:
            assert stat.S_IMODE((paths.base / source).stat().st_mode) == 0o700


def test_a_changed_configuration_changes_the_fingerprint(
    farm: Farm, credentials: Credentials, paths: LabPaths
) -> None:
    render_servers(farm, credentials, paths)
    first, second = farm.named("kamailio-1"), farm.named("kamailio-2")
    before = fingerprint(first, paths), fingerprint(second, paths)
    with (etc_of(first, paths) / "kamailio.cfg").open("a") as file:
        file.write("# changed\n")
    after = fingerprint(first, paths), fingerprint(second, paths)
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_folder_too_deep_for_a_unix_socket_is_named(farm: Farm, paths: LabPaths) -> None:
    deep = LabPaths(base=paths.base / ("d" * 100), project=PROJECT)
    with pytest.raises(LabError, match="too long for a Unix socket"):
        write_config(farm, deep)
