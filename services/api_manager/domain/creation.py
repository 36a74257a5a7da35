"""The ids of what a request creates.

They follow from one base id. A request with an `Idempotency-Key` keeps its base beside the key, so that
saying it again, even after a crash half way, names the same things; services create by id and make
nothing twice.
"""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from evercall.contracts.ids import make_id


@dataclass(frozen=True, slots=True)
class Creation:
    """Names what one request creates."""

    base: UUID

    def id(self, name: str) -> UUID:
        """The id of the thing that this request calls `name`: as old as the base, but with an affinity
        of its own, so that the calls of one request spread over all shards."""
        digest = hashlib.blake2b(self.base.bytes + name.encode(), digest_size=10).digest()
        return make_id(self.base.int >> 80, digest)
