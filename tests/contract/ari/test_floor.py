"""`TIMEOUT(absolute)`: Asterisk ends a channel that nobody ends, whatever it is doing in Stasis."""

import asyncio
import time
from uuid import UUID

import httpx

from call_manager.settings import Settings
from deploy.lab.network import ARI_PORT
from evercall.ari import commands
from evercall.contracts.asterisk import AriCommand
from evercall.service.identity import new_id
from tests.contract.ari.conftest import Control
from tests.contract.ari.phone import Phone
from tests.contract.ari.rig import SOUND, ProxyProcess, Rig
from tests.contract.ari.shards import Shards

APP = "evercall"
FLOOR = "TIMEOUT(absolute)"
SECONDS = 2


async def test_asterisk_ends_every_channel_by_itself(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    """One that does nothing, one that plays, one in a bridge, one that we called, and its external media."""
    idle = await control.take(phone, "7001")
    plays = await control.take(phone, "7002")
    bridged = await control.take(phone, "7003")
    called, media = new_id(), new_id()
    begun = time.monotonic()
    for call in (idle, plays, bridged):
        floor = commands.set_variable(call.actor, "floor", call.channel_id, FLOOR, str(SECONDS))
        await control.give(floor)
    await control.give(
        commands.play(plays.actor, "play", plays.channel_id, f"{plays.actor}.p", [SOUND] * 60),
        commands.create_bridge(bridged.actor, "bridge", f"{bridged.actor}.b"),
        commands.add_to_bridge(bridged.actor, "add", f"{bridged.actor}.b", [bridged.channel_id]),
        originate(called),
        commands.external_media(
            media,
            "media",
            f"{media}.m",
            "127.0.0.1:40100",
            app=APP,
            variables={FLOOR: str(SECONDS)},
        ),
    )
    outgoing = await asyncio.wait_for(phone.incoming.get(), 5)
    outgoing.respond("200 OK", audio=True)
    everybody = [idle.actor, plays.actor, bridged.actor, called, media]
    await shards.wait(lambda: all("ChannelDestroyed" in shards.types(actor) for actor in everybody))
    assert time.monotonic() - begun > SECONDS - 0.1
    for end in (idle.phone, plays.phone, bridged.phone, outgoing):
        await asyncio.wait_for(end.ended.wait(), 5)
    assert "PlaybackFinished" in shards.types(plays.actor)
    await control.give(commands.destroy_bridge(bridged.actor, "end", f"{bridged.actor}.b"))


async def test_asterisk_gives_up_a_call_that_nobody_answers(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    """Dialling has a limit of its own, which Asterisk keeps without us as well."""
    actor = new_id()
    await control.give(originate(actor, timeout=SECONDS))
    outgoing = await asyncio.wait_for(phone.incoming.get(), 5)
    outgoing.respond("180 Ringing")
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(actor))


async def test_the_dialplan_sets_it_for_incoming_calls(
    proxy: ProxyProcess, phone: Phone, control: Control, rig: Rig
) -> None:
    call = await control.take(phone, "7004")
    environment = dict(rig.proxy.environment)
    user = environment["EVERCALL_ARI_USERNAME"], environment["EVERCALL_ARI_PASSWORD"]
    url = (
        f"http://{rig.asterisk.process.address}:{ARI_PORT}/ari/channels/{call.channel_id}/variable"
    )
    async with httpx.AsyncClient(auth=user) as client:
        answer = (await client.get(url, params={"variable": FLOOR})).json()
    longest = Settings.model_fields["longest_call"].default
    assert longest < float(answer["value"]) < longest + 400
    await call.phone.hang_up()


def originate(actor: UUID, timeout: int = commands.NO_TIMEOUT) -> AriCommand:
    """A call to the phone, with the floor."""
    return commands.originate(
        actor,
        "create",
        f"{actor}.1",
        "PJSIP/call-out/sip:bob@example.test",
        app=APP,
        timeout=timeout,
        variables={"CALL_ID": str(actor), FLOOR: str(SECONDS)},
    )
