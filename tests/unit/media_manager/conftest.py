"""What several tests of media_manager need."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.media_manager.house import House, open_house


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """One process."""
    async with open_house() as house:
        yield house
