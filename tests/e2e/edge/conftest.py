"""The rig of the edge tests: started once, and only where the lab's root file system has been built."""

from collections.abc import Iterator

import pytest

from deploy.lab import rootfs
from deploy.lab.paths import lab_paths
from tests.e2e.edge.rig import Rig, running_rig

# Apart from every network that a lab is likely to be given.
_RIG_NETWORK = "127.219"


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two Kamailio and two RTPEngine, with the test around them."""
    if not rootfs.is_built(lab_paths()):
        pytest.exit("the lab's root file system is not built (`make up`)", returncode=3)
    with running_rig(tmp_path_factory.mktemp("edge"), _RIG_NETWORK) as running:
        yield running
