"""What becomes of media streams when processes die, applications misbehave, or credentials end."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

from deploy.lab.lab import Lab
from deploy.lab.plan import Kind, Process
from tests.e2e.streams import Leaving, Streamed, both_hear, idle_call, settle
from tests.support.outage import outage
from tests.support.phone_audio import sine
from tests.support.phone_sipp import Caller
from tests.support.rest import Customer, action

APPLICATION_HOST, APPLICATION_PORT = 201, 18_000
ABNORMAL = 1006


async def numbers(process: Process) -> dict[str, float]:
    """A process's metrics without labels, and those of one label summed up."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{process.health_url}/metrics")).text
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            key = name.partition("{")[0]
            found[key] = found.get(key, 0.0) + float(value)
    return found


async def test_a_killed_media_manager_takes_nobody_with_it(streamed: Streamed) -> None:
    """ "`kill -9` of a media_manager: calls unaffected, streams of others unaffected, resumed on another
    process"."""
    applications = [await streamed.open(encapsulation="sln") for _ in range(4)]
    starts = [await each.tell("start") for each in applications]
    streamed.sip.media.say(sine(1000, 12.0))
    await settle(1.0)
    async with outage(streamed.lab, "media_manager-1"):
        await settle(0.5)
        cut = [each for each in applications if each.close_code is not None]
        left = [each for each in applications if each.close_code is None]
        assert cut, "no stream was at the process that died"
        assert left, "no stream was at the process that lives"
        assert {each.close_code for each in cut} == {ABNORMAL}
        for each in left:
            await both_hear(streamed, each)

        for each in cut:
            stream_id = starts[applications.index(each)]["stream_id"]
            back = await streamed.open(encapsulation="sln", resume=stream_id)
            again = await back.tell("start")
            assert (again["stream_id"], again["resumed"]) == (stream_id, True)
            assert again["lost_ms"] is None
            await both_hear(streamed, back)
            await back.say(sine(700, 0.6))
        await settle()
        for each in left:
            assert [round(tone.frequency, -1) for tone in each.tones()] == [1000]
    assert (await streamed.customer.call(streamed.id))["status"] == "progressing"
    told = streamed.sip.media.recording.tones()
    assert len(told) >= 1
    assert all(tone.frequency == pytest.approx(700, abs=5) for tone in told)


async def test_streams_that_nobody_resumes_are_removed(streamed: Streamed) -> None:
    """The process died and its application too: the call has no dead leg for long."""
    applications = [await streamed.open() for _ in range(2)]
    async with outage(streamed.lab, "media_manager-1", "media_manager-2"):
        await settle()
        assert all(each.close_code == ABNORMAL for each in applications)
    await streamed.switches.until_no_streams(within=15.0)
    assert (await streamed.customer.call(streamed.id))["status"] == "progressing"
    await (await streamed.open()).close()


async def test_a_process_that_stops_hands_its_streams_over(streamed: Streamed) -> None:
    """SIGTERM: applications are asked to come back, and lose nothing."""
    application = await streamed.open(encapsulation="sln")
    start = await application.tell("start")
    streamed.sip.media.say(sine(1000, 6.0))
    await application.socket.send(sine(700, 5.0).astype("<i2").tobytes())
    await settle(1.0)
    owner = await _owner(streamed.lab)
    stopping = asyncio.create_task(asyncio.to_thread(streamed.lab.supervisor.stop, [owner.name]))
    try:
        assert (await application.tell("stop"))["reason"] == "draining"
        assert (await application.closed())[0] == 1012
        back = await streamed.open(encapsulation="sln", resume=start["stream_id"])
        again = await back.tell("start")
        assert (again["resumed"], again["lost_ms"]) == (True, 0)
        await asyncio.sleep(5.0)
        heard = sum(tone.duration for tone in application.tones() + back.tones())
        assert heard > 5.8
        told = streamed.sip.media.recording.tones()
        assert sum(tone.duration for tone in told) == pytest.approx(5.0, abs=0.3)
        await back.close()
    finally:
        await stopping
        await asyncio.to_thread(streamed.lab.supervisor.start_processes, [owner.name])
        await asyncio.to_thread(streamed.lab.wait_ready, [owner.name], 30.0)


async def _owner(lab: Lab) -> Process:
    for process in lab.farm.of_module("media_manager"):
        if (await numbers(process)).get("evercall_media_manager_streams", 0) > 0:
            return process
    raise AssertionError("no process has a stream")


async def test_streams_outlive_call_manager(streamed: Streamed) -> None:
    """Audio does not pass through it; what it had to remember it finds again."""
    application = await streamed.open()
    async with outage(streamed.lab, "call_manager-1", "call_manager-2"):
        await both_hear(streamed, application)
    await both_hear(streamed, application)
    await application.close()
    await streamed.switches.until_no_streams(within=6.0)


async def test_streams_outlive_asterisk_proxy(streamed: Streamed) -> None:
    """And the broker's silence about them."""
    application = await streamed.open()
    async with outage(streamed.lab, "asterisk_proxy-1", "asterisk_proxy-2"):
        await both_hear(streamed, application)
    await settle(1.0)
    await both_hear(streamed, application)
    await application.close()
    await streamed.switches.until_no_streams(within=6.0)


@pytest.mark.parametrize("victim", ["rabbitmq", "postgresql"])
async def test_streams_outlive_what_the_platform_remembers_with(
    streamed: Streamed, victim: str
) -> None:
    """Audio needs neither broker nor database; afterwards keys arrive, and the end is an end."""
    application = await streamed.open()
    async with outage(streamed.lab, victim):
        await both_hear(streamed, application)
    await both_hear(streamed, application)
    streamed.sip.media.press("5")
    assert (await application.tell("dtmf", within=8.0))["digit"] == "5"
    await application.close()
    await streamed.switches.until_no_streams(within=6.0)
    assert (await streamed.customer.call(streamed.id))["status"] == "progressing"


async def test_a_stream_ends_with_its_asterisk(
    platform: Lab, customer: Customer, caller: Caller
) -> None:
    """The application hears nothing meanwhile; when the call is known to be lost, it is told so."""
    call = await idle_call(platform, customer, caller)
    application = await call.open()
    await both_hear(call, application)
    answered = call.sip.report("answered")
    assert answered is not None
    [victim] = [
        process.name
        for process in platform.farm.of_kind(Kind.ASTERISK)
        if f"{process.address}:" in answered.header("Contact")
    ]
    async with outage(platform, victim):
        await settle(1.0)
        assert application.close_code is None, "nobody has said that the call is over"
    assert (await application.tell("stop", 20.0))["reason"] == "call_ended"
    assert await application.closed() == (1001, "call_ended")
    assert (await call.refusal()).status == 409
    assert (await customer.call(call.id))["hangup_reason"] == "lost"
    await call.switches.until_no_streams()
    await call.switches.close()


async def test_a_flow_connects_and_connects_again(
    platform: Lab, customer: Customer, caller: Caller, leaving: Leaving
) -> None:
    """`external_media_start`: the application echoes; it is connected anew after its own failure, and after the
    death of the process that had connected it."""
    host = platform.farm.network.address(9, APPLICATION_HOST)
    connections: list[ServerConnection] = []

    async def echo(connection: ServerConnection) -> None:
        connections.append(connection)
        async for message in connection:
            if isinstance(message, bytes):
                await connection.send(message)

    async with serve(echo, host, APPLICATION_PORT, compression=None):
        start = action(
            "external_media_start", url=f"ws://{host}:{APPLICATION_PORT}/call", encapsulation="sln"
        )
        streamed = leaving(await idle_call(platform, customer, caller, start))
        await _until(lambda: len(connections) == 1)
        request = connections[0].request
        assert request is not None
        assert request.headers["X-Evercall-Call-Id"] == streamed.id
        stream_id = request.headers["X-Evercall-Stream-Id"]

        connections[0].transport.abort()
        await _until(lambda: len(connections) == 2)
        streamed.sip.media.say(sine(1000, 1.0))
        await streamed.sip.media.hears(1000, lasting=0.5)

        owner = await _owner(platform)
        async with outage(platform, owner.name):
            await _until(lambda: len(connections) == 3, within=9.0)
        again = connections[2].request
        assert again is not None
        assert again.headers["X-Evercall-Stream-Id"] == stream_id
    assert (await customer.call(streamed.id))["status"] == "progressing"


async def _until(condition: Callable[[], bool], within: float = 5.0) -> None:
    for _ in range(int(within / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to be")


async def test_a_token_ends_its_stream(streamed: Streamed) -> None:
    """Its own close code, and the call goes on."""
    made = await streamed.customer.api.post("/v1.0/accesskeys", {"name": "short", "expire": 3})
    application = await streamed.open(token=made["token"])
    code, reason = await application.closed(within=8.0)
    assert (code, reason) == (4001, "token_expired")
    assert (await streamed.customer.call(streamed.id))["status"] == "progressing"


async def test_a_thousand_idle_connections_cost_little(streamed: Streamed) -> None:
    """ "half a handshake, 1,000 idle sockets": memory bounded, and others are served meanwhile."""
    processes = streamed.lab.farm.of_module("media_manager")
    before = {process.name: _memory(streamed.lab, process) for process in processes}
    opened = []
    for number in range(1000):
        process = processes[number % len(processes)]
        _, writer = await asyncio.open_connection(process.address, 8080)
        writer.write(b"GET /v1.0/calls/x/media_stream HTTP/1.1\r\nHost: x\r\nX-Half: ")
        opened.append(writer)
    application = await streamed.open()
    await both_hear(streamed, application)
    grown = {
        name: _memory(streamed.lab, streamed.lab.farm.named(name)) - was
        for name, was in before.items()
    }
    assert max(grown.values()) < 40_000_000, grown
    await asyncio.sleep(5.5)
    for process in processes:
        answer = await asyncio.to_thread(httpx.get, f"http://{process.address}:8080/nothing")
        assert answer.status_code in (400, 404)
    for writer in opened:
        writer.close()
    await application.close()


def _memory(lab: Lab, process: Process) -> int:
    """Resident bytes."""
    [pid, *_] = lab.pids(process.name)
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


async def test_a_reader_that_stops_reading_loses_the_oldest(streamed: Streamed) -> None:
    """ "A slow reader loses the oldest audio, counted, never the call": memory stays where it is."""
    process = streamed.lab.farm.of_module("media_manager")[0]
    connection = socket.socket()
    # Small buffers, and nginx left out, which has some of its own.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (process.address, 8080))
    application = await streamed.open(
        reads=False, encapsulation="sln", rate="16000", connection=connection
    )
    application.socket.transport.pause_reading()
    other = await streamed.open()
    await asyncio.sleep(8.0)
    await both_hear(streamed, other)
    application.socket.transport.resume_reading()
    application.read()
    behind = await application.tell("behind")
    assert behind["dropped_ms"] > 0
    assert (await streamed.customer.call(streamed.id))["status"] == "progressing"
    await both_hear(streamed, application)
