"""The keeper by itself: what it does with a connection when no proxy comes."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from asterisk_proxy import keeper as keeper_module
from asterisk_proxy.keeper import BUSY, HERE, KEEP, QUIT, Keeper, address
from asterisk_proxy.stream import Stream
from evercall.ari.frames import encode_close

PATIENCE = 0.4


@dataclass
class Kept:
    """A keeper in a thread, and the two ends of a TCP connection."""

    where: str
    thread: threading.Thread
    stream: Stream
    ours: socket.socket
    asterisk: socket.socket

    def call(self) -> tuple[socket.socket, bytes, list[int]]:
        """Connects as a proxy; returns what the keeper says and keeps."""
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.settimeout(5)
        control.connect(self.where)
        word, descriptors, _, _ = socket.recv_fds(control, 16, 2)
        return control, word, descriptors

    def give(self, control: socket.socket, *, connection: bool = True) -> None:
        descriptors = [self.stream.descriptor]
        if connection:
            descriptors.append(self.ours.fileno())
        socket.send_fds(control, [KEEP], descriptors)

    def read_until(self, expected: bytes) -> None:
        """Waits until the keeper has taken these bytes into the stream."""
        until = time.monotonic() + 5
        while self.stream.read(0, 10_000) != expected:
            assert time.monotonic() < until, self.stream.read(0, 10_000)
            time.sleep(0.01)

    def ended(self) -> bool:
        self.thread.join(5)
        return not self.thread.is_alive()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setattr(keeper_module, "PATIENCE", PATIENCE)
    where = address("test", f"{os.getpid()}:{time.monotonic_ns()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(where)
    listener.listen()
    thread = threading.Thread(target=Keeper(listener).run, daemon=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        asterisk = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    asterisk.settimeout(5)
    ours.setblocking(False)
    stream = Stream.create()
    thread.start()
    kept = Kept(where, thread, stream, ours, asterisk)
    yield kept
    assert kept.ended()
    for one in (listener, ours, asterisk):
        one.close()
    os.close(stream.descriptor)


def test_it_reads_while_there_is_no_proxy_and_hands_over(kept: Kept) -> None:
    control, word, descriptors = kept.call()
    assert (word, descriptors) == (HERE, [])
    kept.give(control)
    kept.asterisk.sendall(b"before ")
    time.sleep(0.05)
    assert kept.stream.received == 0, "a keeper with a proxy does not read"
    control.close()
    kept.read_until(b"before ")
    kept.asterisk.sendall(b"after")
    kept.read_until(b"before after")
    control, word, descriptors = kept.call()
    assert word == HERE
    assert len(descriptors) == 2
    kept.asterisk.sendall(b" and on")
    with socket.socket(fileno=descriptors[1]) as connection:
        assert connection.recv(100) == b" and on"
    assert Stream(descriptors[0]).read(0, 100) == b"before after"
    os.close(descriptors[0])
    control.send(QUIT)
    control.close()


def test_a_second_proxy_is_sent_away(kept: Kept) -> None:
    control, _, _ = kept.call()
    second, word, descriptors = kept.call()
    assert (word, descriptors) == (BUSY, [])
    second.close()
    control.send(QUIT)
    control.close()


def test_when_no_proxy_comes_it_closes_and_keeps_what_is_not_settled(kept: Kept) -> None:
    control, _, _ = kept.call()
    kept.give(control)
    control.close()
    assert kept.asterisk.recv(100) == encode_close()
    kept.asterisk.sendall(b"last words")
    kept.asterisk.close()
    kept.read_until(b"last words")
    before = time.process_time()
    kept.thread.join(4 * PATIENCE)
    assert kept.thread.is_alive(), "it threw events away"
    assert time.process_time() - before < PATIENCE, "it does not sleep"
    control, word, descriptors = kept.call()
    assert (word, len(descriptors)) == (HERE, 1)
    found = Stream(descriptors[0])
    assert found.read(0, 100) == b"last words"
    found.settle(found.received)
    control.close()
    assert kept.ended()


def test_an_asterisk_that_does_not_close_is_left(kept: Kept) -> None:
    """Its machine is gone: nothing will come of that connection."""
    control, _, _ = kept.call()
    kept.give(control)
    control.close()
    assert kept.asterisk.recv(100) == encode_close()
    assert kept.ended()


def test_nearly_full_it_lets_asterisk_keep_its_events(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "PATIENCE", 60.0)
    monkeypatch.setattr(Stream, "is_filling", property(lambda stream: stream.used > 100))
    control, _, _ = kept.call()
    kept.give(control)
    control.close()
    kept.asterisk.sendall(b"#" * 101)
    assert kept.asterisk.recv(100) == encode_close()
    kept.asterisk.close()
    # Settled before the call, the keeper may have gone by then: there would be nothing left to keep.
    control, _, descriptors = kept.call()
    for descriptor in descriptors:
        os.close(descriptor)
    kept.stream.settle(kept.stream.received)
    control.close()


def test_half_a_frame_is_not_followed_by_another(kept: Kept) -> None:
    kept.stream.writing = True
    control, _, _ = kept.call()
    kept.give(control)
    control.close()
    assert kept.asterisk.recv(100) == b""
    kept.asterisk.close()


def test_with_nothing_to_keep_it_ends_at_once(kept: Kept) -> None:
    control, _, _ = kept.call()
    kept.give(control, connection=False)
    control.close()
    kept.thread.join(PATIENCE / 2)
    assert not kept.thread.is_alive()


def test_a_proxy_that_never_speaks_is_not_waited_for(kept: Kept) -> None:
    control, _, _ = kept.call()
    control.close()
    assert kept.ended()
