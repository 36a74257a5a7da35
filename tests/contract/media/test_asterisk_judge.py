"""Asterisk as the judge: its external media channels and `AudioSocket()` talk with the library's framings.

Two channels in one bridge, one of them RTP, the other AudioSocket or RTP too; both far ends are ours. Or one RTP
channel, whose sound its application `AudioSocket()` carries. What one end says the other must hear. Asterisk has
no AudioSocket that listens: it is always who connects, so the library plays the side that listens.
"""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import numpy as np
import pytest

from deploy.lab.lab import Lab
from deploy.lab.launch import run_inside
from deploy.lab.network import ARI_PORT
from deploy.lab.plan import ARI_APPLICATION, ARI_USERNAME, Kind
from evercall.media.audiosocket import AudioSocketFraming
from evercall.media.encapsulation import open_framing
from evercall.media.framing import Audio, Digit, Fault, Framing, HangUp, Identity, Received
from tests.support.phone_audio import RATE, Samples, Tone, decode_ulaw, encode_ulaw, sine, tones

MODULES = ("res_audiosocket.so", "chan_audiosocket.so", "app_audiosocket.so")
OURS = 220
SEED = 0x1234_5678_9ABC_DEF0_1234


class Switch:
    """One Asterisk of the lab, asked over ARI."""

    def __init__(self, lab: Lab) -> None:
        address = lab.farm.of_kind(Kind.ASTERISK)[0].address
        account = (ARI_USERNAME, lab.credentials.ari_password)
        self.client = httpx.AsyncClient(base_url=f"http://{address}:{ARI_PORT}/ari", auth=account)
        self.made: list[str] = []

    async def ask(self, method: str, path: str, **query: str) -> Any:
        answer = await self.client.request(method, path, params=query)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def external(self, name: str, host: str, **query: str) -> dict[str, Any]:
        """An external media channel."""
        made: dict[str, Any] = await self.ask(
            "POST",
            "/channels/externalMedia",
            channelId=name,
            app=ARI_APPLICATION,
            external_host=host,
            **query,
        )
        self.made.append(f"/channels/{name}")
        await self.in_stasis(name)
        return made

    async def in_stasis(self, channel: str) -> None:
        """The channel has come to where it may be told what to do: a moment after it was made."""
        for _ in range(40):
            if (await self.client.post(f"/channels/{channel}/answer")).is_success:
                return
            await asyncio.sleep(0.05)
        pytest.fail("the channel did not come to Stasis")

    async def bridge(self, *channels: str) -> None:
        """All of them hear each other."""
        name = f"judge-{uuid4()}"
        await self.ask("POST", f"/bridges/{name}", type="mixing")
        self.made.append(f"/bridges/{name}")
        for channel in channels:
            await self.ask("POST", f"/bridges/{name}/addChannel", channel=channel)

    async def has(self, channel: str) -> bool:
        return (await self.client.get(f"/channels/{channel}")).is_success

    async def close(self) -> None:
        for path in reversed(self.made):
            await self.client.delete(path)
        await self.client.aclose()


@dataclass
class Heard:
    """What a framing has understood."""

    framing: Framing
    received: list[Received] = field(default_factory=list)

    def take(self, data: bytes) -> None:
        self.received += self.framing.receive(data)

    @property
    def audio(self) -> bytes:
        return b"".join(each.data for each in self.received if isinstance(each, Audio))

    def only(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.received if isinstance(each, kind)]


@pytest.fixture
async def switch(lab: Lab) -> AsyncIterator[Switch]:
    """With AudioSocket, which the platform itself does not need."""
    made = Switch(lab)
    for module in MODULES:
        await made.client.post(f"/asterisk/modules/{module}")
    yield made
    closing = Switch(lab)
    await made.close()
    for module in reversed(MODULES):
        await closing.client.delete(f"/asterisk/modules/{module}")
    await closing.close()


@dataclass
class RtpPeer:
    """Our end of an RTP channel."""

    socket: socket.socket
    heard: Heard
    asterisk: tuple[str, int] = ("", 0)

    async def say(self, samples: Samples) -> None:
        codes = encode_ulaw(samples)
        for begin in range(0, len(codes), 160):
            packet = self.heard.framing.audio(codes[begin : begin + 160])
            self.socket.sendto(packet, self.asterisk)
            await asyncio.sleep(0.019)

    def tones(self) -> list[Tone]:
        return tones(decode_ulaw(self.heard.audio))


async def rtp_peer(lab: Lab, switch: Switch) -> tuple[RtpPeer, str]:
    """An RTP channel, and our end of it."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((lab.farm.network.address(9, OURS), 0))
    opened.setblocking(False)
    peer = RtpPeer(opened, Heard(open_framing("rtp", seed=SEED)))
    asyncio.get_running_loop().add_reader(opened, lambda: peer.heard.take(opened.recv(2048)))
    name, (host, port) = f"judge-{uuid4()}", opened.getsockname()
    made = await switch.external(
        name, f"{host}:{port}", format="ulaw", encapsulation="rtp", transport="udp"
    )
    variables = made["channelvars"]
    peer.asterisk = (
        variables["UNICASTRTP_LOCAL_ADDRESS"],
        int(variables["UNICASTRTP_LOCAL_PORT"]),
    )
    return peer, name


def close(peer: RtpPeer) -> None:
    asyncio.get_running_loop().remove_reader(peer.socket)
    peer.socket.close()


async def test_rtp_is_understood_both_ways(lab: Lab, switch: Switch) -> None:
    one, first = await rtp_peer(lab, switch)
    other, second = await rtp_peer(lab, switch)
    await switch.bridge(first, second)
    await asyncio.gather(one.say(sine(700, 1.0)), other.say(sine(1300, 1.0)))
    await asyncio.sleep(0.2)
    for peer, frequency in ((one, 1300), (other, 700)):
        [tone] = peer.tones()
        assert tone.frequency == pytest.approx(frequency, abs=5)
        assert tone.duration > 0.9
        assert peer.heard.only(Fault) == []
        close(peer)


@dataclass
class AudioSocketServer:
    """Our end of an AudioSocket channel: Asterisk connects."""

    heard: Heard
    server: asyncio.Server | None = None
    address: str = ""
    writer: asyncio.StreamWriter | None = None
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.connected.set()
        while data := await reader.read(4096):
            self.heard.take(data)
        writer.close()
        self.ended.set()

    async def hang_up(self) -> None:
        assert self.writer is not None
        self.writer.write(self.heard.framing.hang_up())

    def close(self) -> None:
        assert self.server is not None
        self.server.close()

    async def say(self, audio: bytes) -> None:
        assert self.writer is not None
        size = self.heard.framing.format.frame_bytes
        for begin in range(0, len(audio), size):
            self.writer.write(self.heard.framing.audio(audio[begin : begin + size]))
            await asyncio.sleep(0.019)


async def audiosocket_server(lab: Lab, rate: int) -> AudioSocketServer:
    """It listens at its `address`."""
    ours, host = (
        AudioSocketServer(Heard(AudioSocketFraming(rate))),
        lab.farm.network.address(9, OURS),
    )
    ours.server = await asyncio.start_server(ours.serve, host, 0)
    ours.address = f"{host}:{ours.server.sockets[0].getsockname()[1]}"
    return ours


async def hear_each_other(ours: AudioSocketServer, peer: RtpPeer) -> None:
    """A tone of a second each way, at the same time: each arrives as it was said."""
    rate = ours.heard.framing.format.rate
    said = sine(700 * RATE / rate, rate / RATE).astype("<i2").tobytes()
    await asyncio.gather(ours.say(said), peer.say(sine(1300, 1.0)))
    await asyncio.sleep(0.3)
    heard = np.frombuffer(ours.heard.audio, dtype="<i2").astype(np.int16)[:: rate // RATE]
    [from_rtp] = tones(heard)
    assert from_rtp.frequency == pytest.approx(1300, abs=5)
    [from_ours] = peer.tones()
    assert from_ours.frequency == pytest.approx(700, abs=5)
    assert min(from_rtp.duration, from_ours.duration) > 0.85


async def gone(switch: Switch, channel: str) -> None:
    """Our hang-up has ended the channel."""
    for _ in range(40):
        if not await switch.has(channel):
            return
        await asyncio.sleep(0.05)
    pytest.fail("our hang-up did not end the channel")


@pytest.mark.parametrize(("rate", "name"), [(8000, "slin"), (16_000, "slin16")])
async def test_audiosocket_is_understood_both_ways(
    lab: Lab, switch: Switch, rate: int, name: str
) -> None:
    ours = await audiosocket_server(lab, rate)
    identity, channel = uuid4(), f"judge-{uuid4()}"
    await switch.external(
        channel,
        ours.address,
        format=name,
        encapsulation="audiosocket",
        transport="tcp",
        data=str(identity),
    )
    peer, other = await rtp_peer(lab, switch)
    await switch.bridge(channel, other)
    await asyncio.wait_for(ours.connected.wait(), 3.0)

    await hear_each_other(ours, peer)

    await switch.ask("POST", f"/channels/{channel}/dtmf", dtmf="1#")
    await asyncio.sleep(0.5)

    assert ours.heard.only(Digit) == [Digit("1"), Digit("#")]
    assert ours.heard.only(Identity) == [Identity(UUID(str(identity)))]
    assert ours.heard.only(Fault) == []

    await ours.hang_up()
    await gone(switch, channel)
    close(peer)
    ours.close()


async def test_the_end_of_the_channel_ends_the_connection(lab: Lab, switch: Switch) -> None:
    ours = await audiosocket_server(lab, 8000)
    channel = f"judge-{uuid4()}"
    await switch.external(
        channel,
        ours.address,
        format="slin",
        encapsulation="audiosocket",
        transport="tcp",
        data=str(uuid4()),
    )
    await asyncio.wait_for(ours.connected.wait(), 3.0)
    await switch.ask("DELETE", f"/channels/{channel}")
    # Asterisk 22.10 closes without a message of hang-up, so whoever listens must take the end as one.
    await asyncio.wait_for(ours.ended.wait(), 3.0)
    assert ours.heard.only(HangUp) == []
    assert ours.heard.only(Fault) == []
    ours.close()


@pytest.fixture
def dialplan(lab: Lab) -> Iterator[Callable[[str], str]]:
    """A dialplan that runs an application, of the Asterisk that `switch` asks; the name of its context."""
    process, context = lab.farm.of_kind(Kind.ASTERISK)[0], f"judge-{uuid4()}"

    def command(text: str) -> None:
        argv = ["asterisk", "-C", "/etc/asterisk/asterisk.conf", "-rx", text]
        launch = run_inside(process, lab.farm, lab.paths, argv)
        done = subprocess.run(
            launch.argv, env=dict(launch.environment), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def add(application: str) -> str:
        command(f"dialplan add extension 1,1,{application} into {context}")
        return context

    yield add
    command(f"dialplan remove context {context}")


async def test_its_application_is_understood_both_ways(
    lab: Lab, switch: Switch, dialplan: Callable[[str], str]
) -> None:
    ours, identity = await audiosocket_server(lab, 8000), uuid4()
    context = dialplan(f"AudioSocket({identity},{ours.address})")
    peer, channel = await rtp_peer(lab, switch)
    await switch.ask(
        "POST", f"/channels/{channel}/continue", context=context, extension="1", priority="1"
    )
    await asyncio.wait_for(ours.connected.wait(), 3.0)

    await hear_each_other(ours, peer)

    assert ours.heard.only(Identity) == [Identity(identity)]
    assert ours.heard.only(Fault) == []

    await ours.hang_up()
    await gone(switch, channel)
    close(peer)
    ours.close()
