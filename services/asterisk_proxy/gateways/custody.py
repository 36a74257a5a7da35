"""The proxy's side of its keeper: find it or start it, take over what it keeps, give it what to keep."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress

from asterisk_proxy import keeper
from asterisk_proxy.stream import Stream
from evercall.service.logging import get_logger

log = get_logger(__name__)

START_TIMEOUT = 10.0
RETRY = 0.05
WORD_TIMEOUT = 5.0


class Custody:
    """What is shared with the keeper."""

    def __init__(self, asterisk_id: str, listen: str) -> None:
        self._names = (asterisk_id, listen)
        self._control: socket.socket | None = None
        self._stream: Stream | None = None
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._dismissed = False

    async def open(self) -> tuple[Stream, socket.socket | None]:
        """The stream and the connection that a former proxy left, or a fresh stream."""
        kept = await self._call()
        if kept:
            self._stream = Stream(kept[0])
        else:
            self._stream = Stream.create()
        if len(kept) > 1:
            self._connection = socket.socket(fileno=kept[1])
        self._say_keep()
        return self._stream, self._connection

    def keep(self, connection: socket.socket | None) -> None:
        """From now on this connection is kept, or none."""
        self._connection = connection
        self._say_keep()

    async def watch(self) -> None:
        """Starts a new keeper whenever there is none."""
        loop = asyncio.get_running_loop()
        while self._control is not None:
            self._control.setblocking(False)
            with suppress(OSError):
                await loop.sock_recv(self._control, 1)
            self._control.close()
            if self._dismissed:
                return
            log.warning("keeper_lost")
            # Whatever a keeper is still found to keep is an older share of the same things.
            for descriptor in await self._call():
                os.close(descriptor)
            self._say_keep()

    def dismiss(self) -> None:
        """Nothing is left to keep."""
        self._dismissed = True
        self._say(keeper.QUIT)

    def _say_keep(self) -> None:
        if self._stream is None:
            return
        descriptors = [self._stream.descriptor]
        if self._connection is not None:
            descriptors.append(self._connection.fileno())
        self._say(keeper.KEEP, descriptors)

    def _say(self, word: bytes, descriptors: list[int] | None = None) -> None:
        if self._control is None:
            return
        # A keeper that is gone is noticed by `watch`.
        with suppress(OSError):
            socket.send_fds(self._control, [word], descriptors or [])

    async def _call(self) -> list[int]:
        async with asyncio.timeout(START_TIMEOUT):
            while True:
                try:
                    return await asyncio.to_thread(self._try_call)
                except ConnectionRefusedError:
                    if self._process is None or self._process.poll() is not None:
                        await asyncio.to_thread(self._start)
                except OSError as error:
                    # It has a proxy, perhaps one whose end it has not seen yet.
                    log.warning("keeper_not_taken_over", error=repr(error))
                await asyncio.sleep(RETRY)

    def _try_call(self) -> list[int]:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.settimeout(WORD_TIMEOUT)
        try:
            control.connect(keeper.address(*self._names))
            if not keeper.is_own_user(control):
                raise PermissionError("the keeper's address belongs to another user")
            word, descriptors, _, _ = socket.recv_fds(control, 16, 2)
            if word != keeper.HERE:
                raise ConnectionError("the keeper has a proxy")
        except OSError:
            control.close()
            raise
        self._control = control
        return descriptors

    def _start(self) -> None:
        """Starts a keeper: in a session of its own, so that what ends our group does not end it, and
        without our environment, which holds secrets."""
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "asterisk_proxy.keeper", *self._names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.defpath},
        )
        log.info("keeper_started", pid=self._process.pid)
