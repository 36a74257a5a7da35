"""Every template renders with what the lab says, for small farms and for large ones."""

import re
import stat
from pathlib import Path

import jinja2
import pytest

from deploy.lab.credentials import Credentials
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Kind, plan_farm
from deploy.lab.render import etc_of, render_folder, render_servers, templates_of
from deploy.lab.settings import Settings


@pytest.mark.parametrize("count", [1, 2, 9])
def test_all_servers_get_all_their_files(
    count: int, credentials: Credentials, paths: LabPaths
) -> None:
    settings = Settings(kamailio=count, rtpengine=count, asterisk_call=count, api_manager=count)
    farm = plan_farm(settings, credentials, paths)
    render_servers(farm, credentials, paths)
    for process in farm.processes:
        if process.kind is Kind.SERVICE:
            continue
        templates = {f.stem for f in templates_of(process.kind, paths.project).rglob("*.j2")}
        files = {file.name: file for file in etc_of(process, paths).iterdir()}
        assert set(files) == templates
        assert all("{{" not in file.read_text() for file in files.values())


def test_rendered_files_may_hold_secrets_and_are_private(
    credentials: Credentials, paths: LabPaths
) -> None:
    farm = plan_farm(Settings(), credentials, paths)
    render_servers(farm, credentials, paths)
    files = [file for file in paths.etc.rglob("*.conf") if file.is_file()]
    assert any("pw-broker" in file.read_text() for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_the_balancers_know_every_backend(credentials: Credentials, paths: LabPaths) -> None:
    farm = plan_farm(Settings(kamailio=3, asterisk_call=4), credentials, paths)
    render_servers(farm, credentials, paths)
    text = (etc_of(farm.named("nginx-sip"), paths) / "nginx.conf").read_text()
    addresses = [farm.network.kamailio_external(i) for i in (1, 2, 3)]
    addresses += [farm.network.kamailio_internal(i) for i in (1, 2, 3)]
    addresses += [farm.network.asterisk_call(i) for i in (1, 2, 3, 4)]
    for address in addresses:
        assert text.count(f"server {address}:5060 ") == 1


def test_media_streams_of_the_api_go_to_every_media_manager(
    credentials: Credentials, paths: LabPaths
) -> None:
    farm = plan_farm(Settings(media_manager=3, api_manager=2), credentials, paths)
    render_servers(farm, credentials, paths)
    text = (etc_of(farm.named("nginx"), paths) / "nginx.conf").read_text()
    upstream = text.partition("upstream media {")[2].partition("}")[0]
    assert re.findall(r"server ([\d.:]+) max_fails=0;", upstream) == [
        f"127.20.4.{host}:8080" for host in (51, 52, 53)
    ]
    patterns = re.findall(r"location ~ (\S+) {\s+proxy_pass http://media;", text)
    (pattern,) = patterns
    identifier = "0199a8f2-6c4e-7b11-9d57-0f3a5c2e8b10"
    assert re.search(pattern, f"/v1.0/calls/{identifier}/media_stream")
    assert re.search(pattern, f"/v1.0/conferences/{identifier}/media_stream")
    for other in (
        f"/v1.0/calls/{identifier}",
        f"/v1.0/calls/{identifier}/media_stream/x",
        "/v1.0/calls/media_stream",
        f"/v1x0/calls/{identifier}/media_stream",
        f"/v1.0/flows/{identifier}/media_stream",
    ):
        assert not re.search(pattern, other)


def test_names_of_the_farm_resolve(credentials: Credentials, paths: LabPaths) -> None:
    farm = plan_farm(Settings(), credentials, paths)
    render_servers(farm, credentials, paths)
    lines = (paths.etc / "hosts").read_text().splitlines()
    assert "127.0.0.1 localhost" in lines
    assert "127.20.3.2 asterisk-call-2" in lines


def test_what_a_template_lacks_is_an_error(tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "a.conf.j2").write_text("{{ NOBODY_SAID }}")
    with pytest.raises(jinja2.UndefinedError, match="NOBODY_SAID"):
        render_folder(templates, {}, tmp_path / "etc")


def test_files_of_a_template_that_is_gone_go_too(tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "kept.conf.j2").write_text("{{ A }}")
    (templates / "gone.conf.j2").write_text("{{ A }}")
    render_folder(templates, {"A": 1}, tmp_path / "etc")
    (templates / "gone.conf.j2").unlink()
    render_folder(templates, {"A": 2}, tmp_path / "etc")
    assert {f.name: f.read_text() for f in (tmp_path / "etc").iterdir()} == {"kept.conf": "2"}
