"""What a call looks like on the bus."""

from evercall.ari.events import WANTED
from evercall.contracts.ids import shard_of
from tests.contract.ari.conftest import Control
from tests.contract.ari.phone import Phone
from tests.contract.ari.rig import SHARDS, ProxyProcess
from tests.contract.ari.shards import Shards


async def test_a_call_is_heard_from_its_beginning_to_its_end(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    call = await control.take(phone, "1001")
    for digit in "4711#":
        await call.phone.digit(digit)
    # A digit that Asterisk is still timing is lost with its channel.
    await shards.wait(lambda: shards.digits(call.actor) == "4711#")
    await call.phone.hang_up()
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(call.actor))
    assert shards.types(call.actor) == [
        "StasisStart",
        "ChannelStateChange",
        *["ChannelDtmfReceived"] * 5,
        "ChannelDestroyed",
    ]
    assert {event.boot_id for event in shards.events[call.actor]} == {
        shards.snapshots[0][1].boot_id
    }


async def test_every_shard_gets_a_snapshot_first(proxy: ProxyProcess, shards: Shards) -> None:
    await shards.wait(lambda: len(shards.snapshots) >= SHARDS)
    assert sorted(shard for shard, _ in shards.snapshots) == list(range(SHARDS))
    assert all(seen.asterisk_id == "call-1" and seen.boot_id for _, seen in shards.snapshots)


async def test_a_snapshot_names_the_channels_of_its_shard(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    call = await control.take(phone, "1002")
    shards.snapshots.clear()
    await proxy.kill()
    await proxy.start()
    await shards.wait(lambda: len(shards.snapshots) >= SHARDS)
    seen = {shard: snapshot.channels for shard, snapshot in shards.snapshots}
    own = seen.pop(shard_of(call.actor, SHARDS))
    assert [(one.actor, one.channel_id, one.state) for one in own] == [
        (call.actor, call.channel_id, "Up")
    ]
    assert all(channels == [] for channels in seen.values())
    await call.phone.hang_up()


async def test_asterisk_itself_drops_what_nobody_needs(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    before = await proxy.metric("evercall_asterisk_proxy_dropped_events_total")
    call = await control.take(phone, "1003")
    await call.phone.hang_up()
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(call.actor))
    assert set(shards.types(call.actor)) <= set(WANTED)
    assert await proxy.metric("evercall_asterisk_proxy_dropped_events_total") == before


async def test_events_of_one_moment_travel_in_one_message(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    call = await control.take(phone, "1004")
    await shards.wait(lambda: len(shards.events[call.actor]) == 2)
    before = shards.messages
    await call.phone.hang_up()
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(call.actor))
    assert shards.messages - before <= 2
