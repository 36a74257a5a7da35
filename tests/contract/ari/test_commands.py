"""What the real Asterisk says to our commands: the builders' docstrings, checked."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from evercall.ari import commands
from evercall.ari.commands import Cause
from evercall.contracts.asterisk import AriCommand, RefusedCommand
from evercall.service.identity import new_id
from tests.contract.ari.conftest import Control
from tests.contract.ari.phone import Phone
from tests.contract.ari.rig import SOUND, ProxyProcess
from tests.contract.ari.shards import Shards

APP = "evercall"


def refusals(shards: Shards, actor: UUID) -> list[RefusedCommand]:
    """What an actor's commands were refused with, in order."""
    return [one for said in shards.refused for one in said.refused if one.actor == actor]


async def outcome(
    control: Control, shards: Shards, actor: UUID, given: Sequence[AriCommand]
) -> list[int]:
    """Gives commands; their statuses, 0 for those that were not refused."""
    last = commands.hangup(actor, "last", "no-such-channel")
    await control.give(*given, last)
    await shards.wait(lambda: any(one.key == "last" for one in refusals(shards, actor)))
    found = {one.key: one.status for one in refusals(shards, actor)}
    return [found.get(command.key, 0) for command in given]


async def test_repeated_commands_of_a_call(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    call = await control.take(phone, "5001")
    a, channel = call.actor, call.channel_id
    given = [
        commands.answer(a, "answer", channel),
        commands.answer(a, "answer again", channel),
        commands.ring(a, "ring", channel),
        commands.ring(a, "ring again", channel),
        commands.set_variable(a, "set", channel, "NAME", "a value, with = and &"),
        commands.send_dtmf(a, "dtmf", channel, "1"),
        commands.create_bridge(a, "bridge", f"{a}.b"),
        commands.add_to_bridge(a, "add", f"{a}.b", [channel]),
        commands.add_to_bridge(a, "add again", f"{a}.b", [channel]),
    ]
    assert await outcome(control, shards, a, given) == [0] * len(given)
    shards.refused.clear()
    given = [
        commands.create_bridge(a, "bridge again", f"{a}.b"),
        commands.remove_from_bridge(a, "remove", f"{a}.b", [channel]),
        commands.remove_from_bridge(a, "remove again", f"{a}.b", [channel]),
        commands.destroy_bridge(a, "destroy", f"{a}.b"),
        commands.stop_playback(a, "stop", f"{a}.p"),
        commands.hangup(a, "hangup", channel),
    ]
    assert await outcome(control, shards, a, given) == [409, 0, 422, 0, 404, 0]
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(a))
    shards.refused.clear()
    given = [
        commands.hangup(a, "hangup again", channel),
        commands.answer(a, "late", channel),
        commands.destroy_bridge(a, "destroy again", f"{a}.b"),
    ]
    assert await outcome(control, shards, a, given) == [404, 404, 404]
    await call.phone.ended.wait()


async def test_a_play_that_is_repeated_is_heard_once(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    call = await control.take(phone, "5002")
    a, channel = call.actor, call.channel_id
    first = commands.play(a, "play.1", channel, f"{a}.p1", [SOUND, SOUND])
    second = commands.play(a, "play.2", channel, f"{a}.p2", [SOUND])
    await control.give(first, first)
    await control.give(first)
    await shards.wait(lambda: "PlaybackFinished" in shards.types(a))
    await proxy.kill()
    await proxy.start()
    await control.give(first, second)
    await shards.wait(lambda: shards.types(a).count("PlaybackFinished") == 2)
    # Asterisk plays on a channel one after the other: whatever was queued twice would end before this one.
    await control.give(commands.play(a, "play.3", channel, f"{a}.p3", [SOUND]))

    def finished() -> list[tuple[str, str]]:
        ends = [e.body["playback"] for e in shards.events[a] if e.type == "PlaybackFinished"]
        return [(one["id"], one["state"]) for one in ends]

    await shards.wait(lambda: (f"{a}.p3", "done") in finished())
    assert finished() == [(f"{a}.{name}", "done") for name in ("p1", "p2", "p3")]
    await call.phone.hang_up()


async def test_a_refused_play_may_be_given_again(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    actor = new_id()
    play = commands.play(actor, "play", "no-such-channel", f"{actor}.p", [SOUND])
    assert await outcome(control, shards, actor, [play]) == [404]
    shards.refused.clear()
    assert await outcome(control, shards, actor, [play]) == [404]
    assert refusals(shards, actor)[0].reason == "Channel not found"


async def test_an_outgoing_call_is_made_once(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    actor = new_id()
    channel = f"{actor}.0"
    variables = {"CALL_ID": str(actor), "PJSIP_HEADER(add,X-Test)": "yes, no"}

    def originate(key: str) -> AriCommand:
        return commands.originate(
            actor,
            key,
            channel,
            "PJSIP/call-out/sip:bob@example.test",
            app=APP,
            app_args="outgoing",
            caller_id='"Alice" <+15550100>',
            formats="ulaw",
            variables=variables,
        )

    assert await outcome(control, shards, actor, [originate("one"), originate("two")]) == [0, 409]
    call = await asyncio.wait_for(phone.incoming.get(), 5)
    assert "X-Test: yes, no" in call.invite
    assert '"Alice" <sip:+15550100@' in call.invite
    call.respond("180 Ringing")
    call.respond("200 OK", audio=True)
    await shards.wait(lambda: "StasisStart" in shards.types(actor))
    states = [
        event.body["channel"]["state"]
        for event in shards.events[actor]
        if event.type == "ChannelStateChange"
    ]
    assert states == ["Ringing", "Up"]
    assert phone.incoming.empty()
    await control.give(commands.hangup(actor, "hangup", channel))
    await asyncio.wait_for(call.ended.wait(), 5)
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(actor))


async def test_a_channel_is_created_and_dialed_once(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    actor = new_id()
    channel, endpoint = f"{actor}.0", "PJSIP/call-out/sip:carol@example.test"
    made = [
        commands.create(actor, "create", channel, endpoint, app=APP, variables={}),
        commands.create(actor, "create again", channel, endpoint, app=APP),
    ]
    assert await outcome(control, shards, actor, made) == [0, 409]
    # A channel that is dialed before it is in Stasis may stay when it is refused (seen with Asterisk 22.10, in
    # three of eight runs).
    await shards.wait(lambda: "StasisStart" in shards.types(actor))
    dialed = [commands.dial(actor, "dial", channel), commands.dial(actor, "dial", channel)]
    assert await outcome(control, shards, actor, dialed) == [0, 0]
    call = await asyncio.wait_for(phone.incoming.get(), 5)
    # RFC 3261 section 17.1.1.2: an INVITE without an answer is repeated after 500 ms, just when the answer below
    # is sent.
    call.respond("100 Trying")
    await asyncio.sleep(0.5)
    assert "ChannelDestroyed" not in shards.types(actor)
    call.respond("486 Busy Here")
    await shards.wait(lambda: "ChannelDestroyed" in shards.types(actor))
    assert shards.events[actor][-1].body["cause"] == Cause.USER_BUSY


async def test_channels_beside_a_call_are_made_once(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    call = await control.take(phone, "5003")
    a, channel = call.actor, call.channel_id
    given = [
        commands.snoop(a, "snoop", channel, f"{a}.s", app=APP),
        commands.snoop(a, "snoop", channel, f"{a}.s", app=APP),
        commands.external_media(a, "media", f"{a}.m", "127.0.0.1:40100", app=APP),
        commands.external_media(a, "media", f"{a}.m", "127.0.0.1:40100", app=APP),
        commands.hangup(a, "end snoop", f"{a}.s"),
        commands.hangup(a, "end media", f"{a}.m"),
    ]
    assert await outcome(control, shards, a, given) == [0] * 6
    await call.phone.hang_up()


async def test_commands_of_one_message_are_carried_out_in_order(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    actor = new_id()
    given = [
        command
        for number in range(100)
        for command in (
            commands.create_bridge(actor, f"create {number}", f"{actor}.{number}"),
            commands.destroy_bridge(actor, f"destroy {number}", f"{actor}.{number}"),
        )
    ]
    assert await outcome(control, shards, actor, given) == [0] * len(given)
    backwards = list(reversed(given))
    shards.refused.clear()
    assert await outcome(control, shards, actor, backwards) == [404, 0] * 100
    bridges = [commands.destroy_bridge(actor, str(n), f"{actor}.{n}") for n in range(100)]
    shards.refused.clear()
    assert await outcome(control, shards, actor, bridges) == [0] * 100


async def test_a_hangup_cause_becomes_a_sip_status(
    proxy: ProxyProcess, phone: Phone, control: Control, shards: Shards
) -> None:
    statuses = {}
    for cause in Cause:
        number = f"6{int(cause):03}"
        call = phone.call(number)
        await shards.wait(lambda number=number: shards.started(number) is not None)
        actor = shards.started(number)
        assert actor is not None
        channel = shards.events[actor][0].channel_id
        await control.give(commands.hangup(actor, "hangup", channel, cause))
        statuses[cause] = int((await call.final()).split(" ")[1])
    assert statuses == {
        Cause.UNALLOCATED: 404,
        Cause.NORMAL_CLEARING: 603,
        Cause.USER_BUSY: 486,
        Cause.NO_USER_RESPONSE: 408,
        Cause.NO_ANSWER: 480,
        Cause.CALL_REJECTED: 403,
        Cause.DESTINATION_OUT_OF_ORDER: 502,
        Cause.INVALID_NUMBER_FORMAT: 484,
        Cause.CONGESTION: 503,
        Cause.INTERWORKING: 500,
    }
