from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from evercall.contracts.ids import affinity, derived_id, make_id, shard_of

times = st.integers(0, (1 << 48) - 1)
noise = st.binary(min_size=10, max_size=10)
uuids = st.uuids()


@given(times, noise)
def test_an_id_is_a_uuid_of_version_7_that_carries_its_time(
    milliseconds: int, random: bytes
) -> None:
    identifier = make_id(milliseconds, random)
    assert identifier.version == 7
    assert identifier.variant == "specified in RFC 4122"
    assert identifier.int >> 80 == milliseconds


@given(times, noise, uuids, st.integers(1, 1024))
def test_an_id_near_another_shares_its_shard(
    milliseconds: int, random: bytes, other: UUID, shards: int
) -> None:
    identifier = make_id(milliseconds, random, near=other)
    assert affinity(identifier) == affinity(other)
    assert shard_of(identifier, shards) == shard_of(other, shards)


@given(times, times, noise, noise)
def test_ids_sort_by_time(first: int, second: int, a: bytes, b: bytes) -> None:
    if first < second:
        assert make_id(first, a) < make_id(second, b)


@given(times, noise)
def test_a_derived_id_is_the_same_each_time_and_differs_by_name(time: int, random: bytes) -> None:
    parent = make_id(time, random)
    assert derived_id(parent, "activeflow") == derived_id(parent, "activeflow")
    assert derived_id(parent, "activeflow") != derived_id(parent, "flow")
    assert affinity(derived_id(parent, "activeflow")) == affinity(parent)
    assert derived_id(parent, "activeflow").version == 7
