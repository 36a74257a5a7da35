"""The one interface over all framings: what an application sends and hears, whatever it is wrapped in.

A `Framing` belongs to one stream in both directions. What it is given are the binary messages of a
WebSocket, the datagrams of a UDP socket or any pieces of a TCP stream; what it returns are bytes of the
same. It keeps less than one message, or the few packets that wait for an earlier one, and never raises for
what came from outside.

A further framing is one file with such a class and one line in `encapsulation`.
"""

from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

from evercall.media.audio import AudioFormat
from evercall.media.errors import Code


class Encapsulation(StrEnum):
    """The names by which applications choose a framing."""

    RTP = "rtp"
    SLN = "sln"
    AUDIOSOCKET = "audiosocket"


class Audio(msgspec.Struct, frozen=True, gc=False):
    """Audio in the framing's format: whole samples, of any length."""

    data: bytes


class Digit(msgspec.Struct, frozen=True, gc=False):
    """A key was pressed; told once, when it is first heard of."""

    key: str


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Which stream this connection is."""

    identity: UUID


class HangUp(msgspec.Struct, frozen=True, gc=False):
    """The other side has ended the stream."""


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Something was not understood and left out; what came before and after it is not affected.

    Not the exception itself: it would keep alive the frames that it passed through, and all that is in them.
    """

    code: Code
    message: str


Received = Audio | Digit | Identity | HangUp | Fault


class Framing(Protocol):
    """One stream's framing, both ways."""

    encapsulation: Encapsulation
    format: AudioFormat

    def receive(self, data: bytes) -> list[Received]:
        """What these bytes hold, together with those that came before."""

    def release(self) -> list[Received]:
        """What was held back for something earlier that does not come; for when the player runs dry."""

    def opening(self, identity: UUID) -> bytes:
        """What whoever connects sends first; empty where nothing is."""

    def audio(self, frame: bytes) -> bytes:
        """A frame of audio, wrapped."""

    def pause(self, frames: int) -> None:
        """So many frames of time pass in which nothing is sent."""

    def digit(self, key: str) -> list[bytes]:
        """A pressed key: what is to be sent, one each 20 ms, without audio between the first and the last;
        empty where keys cannot be told.

        Raises:
            FormatError: there is no such key.
        """

    def hang_up(self) -> bytes:
        """What is sent last; empty where nothing is."""
