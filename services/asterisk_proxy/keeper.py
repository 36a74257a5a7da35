"""The keeper: a small process that shares the proxy's connection and stream, and has nothing else.

While a proxy lives it sleeps. When the proxy is gone it reads in its place, so that nothing is lost
in a socket that nobody empties, and hands everything to the next proxy. Asterisk does not notice.

    proxy → keeper   `keep`, with the descriptors of the stream and, where there is one, the connection
                     `quit`: everything is settled, there is nothing to keep
    keeper → proxy   `here`, with the descriptors that it keeps, or none; `busy`: there is a proxy

When no proxy comes for `PATIENCE` seconds, or its memory is nearly full, the keeper closes the connection the
orderly way: Asterisk then keeps its events itself until it is connected again. What was read and is not settled
it keeps for as long as it takes: it ends only when there is nothing to keep.

It listens on an abstract Unix socket (unix(7)), so no file stays behind, and talks to its own user
only. Standard library only, to be small; no logs, for the pipe it would write to may be gone.
"""

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from asterisk_proxy.stream import Stream
from evercall.ari.frames import encode_close

PATIENCE = 60.0

KEEP = b"keep"
QUIT = b"quit"
HERE = b"here"
BUSY = b"busy"

_CREDENTIALS = struct.Struct("3i")


def address(asterisk_id: str, listen: str) -> str:
    """The abstract address of the keeper of one proxy."""
    return f"\0evercall-ari-keeper/{asterisk_id}/{listen}"


def is_own_user(peer: socket.socket) -> bool:
    """Whether the process at the other end belongs to our user (SO_PEERCRED, unix(7))."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    return bool(user == os.getuid())


class Keeper:
    """The loop of the process."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._proxy: socket.socket | None = None
        self._stream: Stream | None = None
        self._connection: socket.socket | None = None
        self._closing = False
        self._deadline: float | None = time.monotonic() + PATIENCE

    def run(self) -> None:
        """Keeps until there is nothing to keep."""
        while self._step():
            pass
        for held in (self._proxy, self._connection):
            if held is not None:
                held.close()

    def _step(self) -> bool:
        """Waits for one thing to happen and handles it; False when it was the last."""
        ready = self._wait()
        if self._listener in ready:
            self._welcome()
        if self._proxy is not None and self._proxy in ready and not self._hear(self._proxy):
            return False
        if self._connection is not None and self._connection in ready:
            self._read()
        return self._proxy is not None or self._goes_on()

    def _wait(self) -> Sequence[socket.socket]:
        waited = [self._listener]
        if self._proxy is not None:
            waited.append(self._proxy)
        elif self._connection is not None and not (self._stream is None or self._stream.is_full):
            waited.append(self._connection)
        timeout = None
        if self._proxy is None and self._deadline is not None:
            timeout = max(0.0, self._deadline - time.monotonic())
        return select.select(waited, [], [], timeout)[0]

    def _welcome(self) -> None:
        peer, _ = self._listener.accept()
        if not is_own_user(peer):
            peer.close()
            return
        if self._proxy is not None:
            with suppress(OSError):
                peer.send(BUSY)
            peer.close()
            return
        kept: list[int] = []
        if self._stream is not None:
            kept.append(self._stream.descriptor)
            if self._connection is not None:
                kept.append(self._connection.fileno())
        try:
            socket.send_fds(peer, [HERE], kept)
        except OSError:
            peer.close()
            return
        self._proxy = peer

    def _hear(self, proxy: socket.socket) -> bool:
        """Handles a word of the proxy; False when it was the last one."""
        try:
            word, descriptors, _, _ = socket.recv_fds(proxy, 16, 2)
        except OSError:
            word, descriptors = b"", []
        if word == QUIT:
            return False
        if word == KEEP:
            self._keep(descriptors)
            return True
        proxy.close()
        self._proxy = None
        self._stand_in()
        return True

    def _keep(self, descriptors: Sequence[int]) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._stream is None:
            self._stream = Stream(descriptors[0])
        else:
            os.close(descriptors[0])
        if len(descriptors) > 1:
            self._connection = socket.socket(fileno=descriptors[1])
            self._connection.setblocking(False)

    def _stand_in(self) -> None:
        self._deadline = time.monotonic() + PATIENCE
        self._closing = False
        if self._connection is None and self._stream is not None:
            self._deadline = None
        if self._stream is not None and self._connection is not None:
            self._stream.reconcile(self._connection)

    def _read(self) -> None:
        if self._stream is None or self._connection is None:
            return
        try:
            size = self._stream.receive(self._connection)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size == 0:
            self._disconnect()

    def _goes_on(self) -> bool:
        """Takes the next step where patience ends; False when there is nothing to keep."""
        is_due = self._deadline is not None and time.monotonic() >= self._deadline
        if self._stream is None:
            # A keeper that was just started waits for its first word.
            return not is_due
        if self._connection is not None:
            if self._closing and is_due:
                self._disconnect()
            elif not self._closing and (is_due or self._stream.is_filling):
                self._close_gently(self._connection)
        return self._connection is not None or not self._stream.is_settled

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._deadline = None

    def _close_gently(self, connection: socket.socket) -> None:
        self._closing = True
        self._deadline = time.monotonic() + PATIENCE
        with suppress(OSError):
            if self._stream is not None and self._stream.writing:
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.send(encode_close())


def main() -> None:
    """`python -m asterisk_proxy.keeper <asterisk_id> <listen>`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(address(sys.argv[1], sys.argv[2]))
    except OSError:
        # Another one was faster; one is enough.
        return
    listener.listen(4)
    Keeper(listener).run()


if __name__ == "__main__":
    main()
