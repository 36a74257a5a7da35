"""Many datagrams with one system call: recvmmsg(2) and sendmmsg(2).

Python has neither. A call by ctypes takes a microsecond, whatever it carries; a datagram by `socket` takes
two to three. IPv4 only: the leg to Asterisk is inside the platform.
"""

import ctypes
import errno
import os
import socket
import struct
import sys

_libc = ctypes.CDLL(None, use_errno=True)

MOST = 256
"""Datagrams in one call."""

SIZE = 512
"""Room for each: 20 ms of ulaw are 172 bytes with their header. What is longer is cut off, and then no RTP."""

_HEADER_BYTES = 64
"""`struct mmsghdr` on 64-bit Linux: `msghdr` of 56 bytes, the length, padding."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.c_void_p),
        ("vector_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MultiMessage(ctypes.Structure):
    _fields_ = (("message", _Message), ("length", ctypes.c_uint32))


_ADDRESS = struct.Struct("=H2s4s8x")
_ADDRESS_BYTES = _ADDRESS.size


def address_bytes(host: str, port: int) -> bytes:
    """`struct sockaddr_in`.

    Raises:
        OSError: the host is no IPv4 address.
    """
    return _ADDRESS.pack(socket.AF_INET, port.to_bytes(2, "big"), socket.inet_aton(host))


def address_key(address: bytes) -> int:
    """The part of it that differs, as a number: what `Received` gives for where a datagram came from."""
    return int.from_bytes(address[:8], "little")


class Datagrams:
    """The buffers of one direction of one socket: each datagram has its place, address and length."""

    def __init__(self) -> None:
        if ctypes.sizeof(_MultiMessage) != _HEADER_BYTES:
            raise OSError(errno.ENOSYS, "recvmmsg is known for 64-bit Linux only")
        self._data = ctypes.create_string_buffer(MOST * SIZE)
        self._addresses = ctypes.create_string_buffer(MOST * _ADDRESS_BYTES)
        self._vectors = (_Iovec * MOST)()
        self._messages = (_MultiMessage * MOST)()
        data, addresses = ctypes.addressof(self._data), ctypes.addressof(self._addresses)
        vectors = ctypes.addressof(self._vectors)
        for number in range(MOST):
            self._vectors[number] = _Iovec(data + number * SIZE, SIZE)
            message = self._messages[number].message
            message.name = addresses + number * _ADDRESS_BYTES
            message.name_length = _ADDRESS_BYTES
            message.vector = vectors + number * ctypes.sizeof(_Iovec)
            message.vector_length = 1
        self._bytes = memoryview(self._data).cast("B")
        self._address_bytes = memoryview(self._addresses).cast("B")
        self._keys = self._address_bytes.cast("Q")
        self._lengths = memoryview(self._messages).cast("B").cast("I")
        self._vector_lengths = memoryview(self._vectors).cast("B").cast("Q")
        self.count = 0
        """Datagrams that were put and not sent."""

    def receive(self, descriptor: int) -> list[tuple[int, bytes]]:
        """What has arrived, at most `MOST`: from where (`address_key`), and the bytes."""
        count = _libc.recvmmsg(descriptor, self._messages, MOST, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return []
        lengths = self._lengths[14 : 16 * count : 16].tolist()
        keys = self._keys[: 2 * count : 2].tolist()
        data = self._bytes
        return [
            (key, bytes(data[begin : begin + length]))
            for key, length, begin in zip(keys, lengths, range(0, count * SIZE, SIZE), strict=True)
        ]

    def put(self, data: bytes, address: bytes) -> None:
        """One more to be sent; `data` has at most `SIZE` bytes, and there is room while `count < MOST`."""
        number = self.count
        begin, length = number * SIZE, len(data)
        self._bytes[begin : begin + length] = data
        self._vector_lengths[2 * number + 1] = length
        begin = number * _ADDRESS_BYTES
        self._address_bytes[begin : begin + _ADDRESS_BYTES] = address
        self.count = number + 1

    def send(self, descriptor: int) -> int:
        """Sends all that was put. Returns how many were dropped because the kernel has no room for them."""
        count, self.count = self.count, 0
        sent = 0
        while sent < count:
            first = ctypes.byref(self._messages, sent * _HEADER_BYTES)
            done = _libc.sendmmsg(descriptor, first, count - sent, socket.MSG_DONTWAIT)
            if done <= 0:
                if ctypes.get_errno() not in (errno.EAGAIN, errno.ENOBUFS, errno.EINTR):
                    # The datagram at this place can't be sent (its host is unreachable): the others can.
                    sent += 1
                    continue
                return count - sent
            sent += done
        return 0


_MEMORY_INFORMATION = 55
"""`SO_MEMINFO` of socket(7), since Linux 4.12; its ninth number counts what was dropped."""


def dropped_by_kernel(of: socket.socket) -> int:
    """Datagrams that came and found the receive buffer full."""
    numbers = of.getsockopt(socket.SOL_SOCKET, _MEMORY_INFORMATION, 36)
    return int.from_bytes(numbers[32:36], sys.byteorder)


def open_socket(host: str, buffer_bytes: int) -> socket.socket:
    """A socket on a free port of this address, with room for what comes while the process is busy."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    opened.bind((host, 0))
    os.set_inheritable(opened.fileno(), False)
    return opened
