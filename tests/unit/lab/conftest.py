"""A lab on paper: its description without a running process."""

from pathlib import Path

import pytest

from deploy.lab.credentials import Credentials
from deploy.lab.paths import PROJECT, LabPaths
from deploy.lab.plan import Farm, plan_farm
from deploy.lab.settings import Settings


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    """A lab folder of the test's own, beside the real project."""
    folder = LabPaths(base=tmp_path / "lab", project=PROJECT)
    (folder.root / "usr/lib/postgresql/18").mkdir(parents=True)
    (folder.root / "etc").mkdir()
    folder.root_stamp.write_text("recipe")
    return folder


@pytest.fixture
def credentials() -> Credentials:
    return Credentials(
        postgresql_password="pw-database",
        postgresql_superuser_password="pw-superuser",
        rabbitmq_password="pw-broker",
        erlang_cookie="pw-cookie",
        ari_password="pw-ari",
        jwt_key="pw-jwt",
        dialog_keys="pw-dialog",
        admin_accesskey="pw-admin",
    )


@pytest.fixture
def farm(credentials: Credentials, paths: LabPaths) -> Farm:
    return plan_farm(Settings(), credentials, paths)
