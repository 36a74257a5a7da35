"""The folder decides what a test may need: unit tests nothing, contract and e2e tests the running lab."""

import hypothesis
import pytest

from deploy.lab.errors import LabError
from deploy.lab.lab import Lab, open_lab

# Machines of tests are busy with other things: how long an example takes says nothing of the code.
hypothesis.settings.register_profile(
    "evercall", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("evercall")


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab of this checkout, up and ready."""
    lab = open_lab()
    try:
        lab.wait_ready(["postgresql", "rabbitmq"], seconds=20.0)
    except LabError as error:
        pytest.exit(f"the lab is not up (`make up`): {error}", returncode=3)
    return lab
