"""What the process tells of its streams. Packets are counted as plain numbers and read when somebody asks."""

from collections.abc import Callable, Iterator

from prometheus_client import Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import REGISTRY, Collector

from media_manager.domain.counts import Counts
from media_manager.inner.leg import InnerSocket

OPENED = Counter(
    "evercall_media_manager_streams_opened_total",
    "Streams that began or came back",
    ["encapsulation", "how"],
)
REFUSED = Counter("evercall_media_manager_requests_refused_total", "Upgrades refused", ["reason"])
ENDED = Counter("evercall_media_manager_streams_ended_total", "Streams that ended", ["reason"])

_PACKETS = {
    "heard": "messages with audio from applications",
    "played": "packets of 20 ms to calls",
    "spoken": "packets of 20 ms from calls",
    "lost": "packets from calls that never came",
    "late": "packets from calls that came after their turn",
    "strange": "packets from calls that hold no ulaw",
    "behind": "packets dropped because an application did not read them",
}


class MediaCollector(Collector):
    """Reads the numbers of a process."""

    def __init__(
        self,
        counts: Counts,
        inner: InnerSocket,
        streams: Callable[[], dict[str, int]],
        queued: Callable[[], float],
    ) -> None:
        self._counts = counts
        self._inner = inner
        self._streams = streams
        self._queued = queued

    def describe(self) -> Iterator[Metric]:
        """The same as what is collected, without numbers."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        streams = GaugeMetricFamily(
            "evercall_media_manager_streams", "Streams served now", labels=["encapsulation"]
        )
        for encapsulation, number in self._streams().items():
            streams.add_metric([encapsulation], number)
        yield streams
        yield GaugeMetricFamily(
            "evercall_media_manager_queued_seconds",
            "Audio of all applications that waits to be played",
            self._queued(),
        )
        for name, text in _PACKETS.items():
            yield CounterMetricFamily(
                f"evercall_media_manager_{name}",
                text[0].upper() + text[1:],
                getattr(self._counts, name),
            )
        yield CounterMetricFamily(
            "evercall_media_manager_overflowed_bytes",
            "Bytes of applications that did not fit their queue",
            self._counts.overflowed,
        )
        yield CounterMetricFamily(
            "evercall_media_manager_strays", "Packets from nobody we know", self._inner.strays
        )
        yield CounterMetricFamily(
            "evercall_media_manager_overrun",
            "Packets from calls that came when the socket's buffer was full",
            self._inner.overrun,
        )
        yield CounterMetricFamily(
            "evercall_media_manager_unsent",
            "Packets the kernel had no room for",
            self._inner.dropped,
        )
        faults = CounterMetricFamily(
            "evercall_media_manager_faults",
            "Messages of applications that were left out",
            labels=["code"],
        )
        for code, number in self._counts.faults.items():
            faults.add_metric([code], number)
        yield faults


def expose(collector: MediaCollector) -> None:
    """Adds the process's numbers to what /metrics tells."""
    REGISTRY.register(collector)
