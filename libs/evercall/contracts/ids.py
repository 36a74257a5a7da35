"""Identifiers: UUIDv7 (RFC 9562 section 5.7) whose last 16 bits are an affinity.

Ids that share an affinity share a shard in every service, so the legs of a call, their bridge and
their activeflows are handled side by side. The functions are pure: who needs a fresh id from the
clock uses `evercall.service.identity.new_id`.
"""

import hashlib
from uuid import UUID

_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0b10 << 62
_AFFINITY_MASK = 0xFFFF


def make_id(milliseconds: int, random: bytes, *, near: UUID | None = None) -> UUID:
    """Builds a UUIDv7.

    Args:
        milliseconds: Unix time in milliseconds (48 bits).
        random: at least 10 random bytes.
        near: an id whose affinity the new one copies.
    """
    noise = int.from_bytes(random[:10], "big")
    random_a = noise >> 68 & 0xFFF
    random_b = noise & (1 << 62) - 1
    value = (
        (milliseconds & (1 << 48) - 1) << 80 | _VERSION_7 | random_a << 64 | _VARIANT_RFC | random_b
    )
    if near is not None:
        value = value & ~_AFFINITY_MASK | affinity(near)
    return UUID(int=value)


def derived_id(parent: UUID, name: str) -> UUID:
    """Names a thing that belongs to `parent`: same time, same affinity, the same id on every run.

    A pure function that must choose an id (and may run again after a crash) uses this one.
    """
    digest = hashlib.blake2b(parent.bytes + name.encode(), digest_size=10).digest()
    return make_id(parent.int >> 80, digest, near=parent)


def affinity(identifier: UUID) -> int:
    """The 16 bits that decide the shard."""
    return identifier.int & _AFFINITY_MASK


def shard_of(identifier: UUID, shards: int) -> int:
    """The shard, from 0 to `shards - 1`, that handles the actor with this id."""
    return affinity(identifier) % shards
