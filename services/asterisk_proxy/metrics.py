"""What the proxy counts. Looking a label up costs more than all else that is done for an event, so the
counters of the hot path are looked up once."""

from prometheus_client import Counter, Gauge, Histogram

from evercall.ari.events import WANTED

_EVENTS = Counter("evercall_asterisk_proxy_events_total", "Events passed on", ["type"])
EVENTS = {name: _EVENTS.labels(name) for name in WANTED}
DROPPED = Counter(
    "evercall_asterisk_proxy_dropped_events_total",
    "Events not passed on: `unwanted` types, events without `owner`, what is `garbled`",
    ["reason"],
)
BATCHES = Counter("evercall_asterisk_proxy_batches_total", "Batches that the broker confirmed")
MESSAGES = Counter("evercall_asterisk_proxy_messages_total", "Messages of those batches")
REPEATS = Counter(
    "evercall_asterisk_proxy_publish_repeats_total", "Messages published again, unconfirmed"
)
CONFIRM = Histogram(
    "evercall_asterisk_proxy_confirm_seconds",
    "From publishing a message until the broker confirmed it",
    buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 5, 30),
)
COMMANDS = Counter("evercall_asterisk_proxy_commands_total", "Commands given to Asterisk")
REPEATED_COMMANDS = Counter(
    "evercall_asterisk_proxy_repeated_commands_total",
    "Commands held back because they were given before and must not be given twice",
)
REFUSED = Counter(
    "evercall_asterisk_proxy_refused_commands_total",
    "Commands refused: by Asterisk (its HTTP status) or by the proxy (`wrong_boot`, `expired`, …)",
    ["status"],
)
UNSETTLED = Gauge(
    "evercall_asterisk_proxy_unsettled_bytes", "Bytes of events that the broker has not confirmed"
)
CONNECTED = Gauge("evercall_asterisk_proxy_connected", "1 while Asterisk is connected and answers")
CONNECTIONS = Counter(
    "evercall_asterisk_proxy_connections_total",
    "Connections: `new`, or `taken_over` from a proxy that was killed",
    ["how"],
)
CHANNELS = Gauge("evercall_asterisk_proxy_channels", "Channels that are up in Asterisk")
