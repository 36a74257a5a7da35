"""Fresh ids from the clock and the operating system's random numbers."""

import os
import time
from uuid import UUID

from evercall.contracts.ids import make_id


def new_id(near: UUID | None = None) -> UUID:
    """A new UUIDv7; `near` lends it its affinity, and so its shard."""
    return make_id(time.time_ns() // 1_000_000, os.urandom(10), near=near)
