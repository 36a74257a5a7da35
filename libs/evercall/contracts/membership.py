"""What processes say to find out whether they hear."""

from evercall.contracts.base import Message


class Echo(Message, frozen=True, kw_only=True):
    """A process's word to itself, on `evercall.farm` under `echo.<instance>`: that it comes back proves that
    heartbeats would have come. `sent` is its own clock's time, in seconds."""

    sent: float
