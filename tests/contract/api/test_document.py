"""The API's document is exact: schemathesis asks the running API for all that the document says, valid and
not, and finds nothing that differs.

Its examples are the same in every run. It asks the process itself and not the load balancer, which answers
TRACE in its own words.
"""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.lab.lab import Lab
from deploy.lab.network import HTTP_PORT
from tests.support.rest import Api, Customer, action, admin_api, new_customer

SECONDS = 110
"""The longest that a run may take; it takes about 40 where nothing else runs."""


@pytest.fixture
async def admin(ready_lab: Lab) -> AsyncIterator[Api]:
    ready_lab.wait_ready(["api_manager-1"], seconds=30.0)
    api = admin_api(ready_lab)
    yield api
    await api.close()


@pytest.fixture
async def customer(ready_lab: Lab, admin: Api) -> AsyncIterator[Customer]:
    made = await new_customer(ready_lab, admin, "document")
    yield made
    await made.leave()


def examine(
    lab: Lab, folder: Path, key: str, number: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """One run of schemathesis with this access key."""
    url = f"http://{lab.farm.of_module('api_manager')[0].address}:{HTTP_PORT}"
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json",
        "--header", f"Authorization: Bearer {key}",
        "--generation-deterministic", "--continue-on-failure", "--no-color",
        *options,
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "SCHEMATHESIS_HOOKS": "tests.contract.api.document_hooks",
        # Nobody answers there.
        "DOCUMENT_TARGET": f"sip:nobody@{lab.farm.network.address(9, 250)}:5999",
        "DOCUMENT_SOURCE": number,
    }
    return subprocess.run(
        command, cwd=folder, env=environment, timeout=SECONDS, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def operations_in_order(run: subprocess.CompletedProcess[str]) -> int:
    """How many operations were tried; there is no finding."""
    assert run.returncode == 0, run.stdout
    found = re.search(r"Tested: (\d+)", run.stdout)
    assert found is not None, run.stdout
    return int(found[1])


# Media streams are WebSockets: schemathesis does not speak them.
@pytest.mark.timeout(SECONDS + 30)
async def test_a_customer_finds_the_api_as_it_is_described(
    ready_lab: Lab, customer: Customer, tmp_path: Path
) -> None:
    number = await customer.number(action("answer"))
    run = examine(
        ready_lab, tmp_path, customer.api.accesskey, number,
        "--exclude-path-regex", "media_stream|/v1.0/customers",
        "--max-examples", "8",
    )  # fmt: skip
    assert operations_in_order(run) > 20


@pytest.mark.timeout(SECONDS + 30)
async def test_the_administrator_does_too(
    ready_lab: Lab, admin: Api, customer: Customer, tmp_path: Path
) -> None:
    number = await customer.number(action("answer"))
    try:
        run = examine(
            ready_lab, tmp_path, admin.accesskey, number,
            "--include-path-regex", "/v1.0/customers|/v1.0/audit_logs",
            "--phases", "examples,coverage",
        )  # fmt: skip
    finally:
        await remove_newer(admin, customer.id)
    assert operations_in_order(run) > 7


async def remove_newer(admin: Api, identifier: str) -> None:
    """Delete the customers that were made after this one."""
    while True:
        page = await admin.get("/v1.0/customers", page_size=100)
        ids = [row["id"] for row in page["result"]]
        newer = ids[: ids.index(identifier)] if identifier in ids else ids
        for each in newer:
            await admin.delete(f"/v1.0/customers/{each}")
        if identifier in ids:
            return
