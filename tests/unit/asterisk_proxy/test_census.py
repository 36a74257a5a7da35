"""Counting channels."""

from asterisk_proxy.domain.census import Census
from evercall.ari.events import Incoming, decode


def event(type_name: str, channel: str) -> Incoming:
    return decode(f'{{"type":"{type_name}","channel":{{"id":"{channel}"}}}}'.encode())


def test_channels_come_and_go() -> None:
    census = Census()
    census.hear(event("StasisStart", "a"))
    census.hear(event("ChannelStateChange", "a"))
    census.hear(event("StasisStart", "b"))
    assert len(census) == 2
    census.hear(event("ChannelDestroyed", "a"))
    census.hear(event("ChannelDestroyed", "never seen"))
    census.hear(decode(b'{"type":"PlaybackFinished","playback":{"id":"p"}}'))
    assert len(census) == 1


def test_a_list_sets_it_right() -> None:
    census = Census()
    census.hear(event("StasisStart", "gone"))
    census.reset(["a", "b"])
    assert len(census) == 2
    census.hear(event("StasisStart", "a"))
    assert len(census) == 2
