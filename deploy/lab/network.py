"""The lab's addresses and ports: one plan below a prefix of 127.0.0.0/8 (here 127.20).

    127.20.0.x   shared: load balancers (.10 external SIP, .20 Asterisk, .30 Kamailio, .40 API,
                 .45 audio), .50 PostgreSQL, .60 to .62 RabbitMQ
    127.20.1.x   Kamailio i: external i, internal 100+i
    127.20.2.x   RTPEngine i: external media and control i, internal media 100+i
    127.20.3.x   Asterisk of the call farm i
    127.20.4.x   our services
    127.20.9.x   the world outside: carriers 1-200, strangers 201-254

Pure.
"""

import ipaddress
from dataclasses import dataclass

SIP_PORT = 5060
# A load balancer pins a flow to a backend, so each Kamailio sends from several ports; and from
# others for clients on TCP, whose connection only it has.
KAMAILIO_SOURCE_PORTS = tuple(range(5070, 5078))
KAMAILIO_CONNECTION_PORTS = tuple(range(5080, 5084))
RTPENGINE_CONTROL_PORT = 22222
RTPENGINE_MEDIA_PORTS = (20000, 29999)
ASTERISK_MEDIA_PORTS = (10000, 19999)
ARI_PORT = 8088
HEALTH_PORT = 9100
HTTP_PORT = 8080
AUDIO_PORT = 8081
POSTGRESQL_PORT = 5432
AMQP_PORT = 5672
# epmd listens on 127.0.0.1 too, whatever it is told, and RabbitMQ does not start unless its
# distribution port is free on all addresses: ports of their own keep two labs, and two nodes, apart.
EPMD_FIRST_PORT = 4400
ERLANG_DISTRIBUTION_FIRST_PORTS = (4700, 4100, 3800)
# What nobody in the internet has (IANA's registry of special-purpose addresses, RFC 6890).
RESERVED_NETWORKS = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses that are fixed whatever the size of the farm."""

    prefix: str

    def address(self, block: int, host: int) -> str:
        return f"{self.prefix}.{block}.{host}"

    @property
    def external_sip(self) -> str:
        return self.address(0, 10)

    @property
    def internal_asterisk(self) -> str:
        return self.address(0, 20)

    @property
    def internal_kamailio(self) -> str:
        return self.address(0, 30)

    @property
    def api(self) -> str:
        return self.address(0, 40)

    @property
    def audio(self) -> str:
        return self.address(0, 45)

    @property
    def postgresql(self) -> str:
        return self.address(0, 50)

    def rabbitmq(self, index: int) -> str:
        return self.address(0, 59 + index)

    def kamailio_external(self, index: int) -> str:
        return self.address(1, index)

    def kamailio_internal(self, index: int) -> str:
        return self.address(1, 100 + index)

    def rtpengine_external(self, index: int) -> str:
        return self.address(2, index)

    def rtpengine_internal(self, index: int) -> str:
        return self.address(2, 100 + index)

    def asterisk_call(self, index: int) -> str:
        return self.address(3, index)

    @property
    def epmd_port(self) -> int:
        return EPMD_FIRST_PORT + self._number

    def erlang_distribution_port(self, index: int) -> int:
        return ERLANG_DISTRIBUTION_FIRST_PORTS[index - 1] + self._number

    @property
    def _number(self) -> int:
        return int(self.prefix.split(".")[1])

    @property
    def inside(self) -> tuple[str, ...]:
        """Load balancers and the three farms: all that may speak SIP to an internal socket."""
        return (f"{self.prefix}.0.0/22",)

    @property
    def kamailios(self) -> tuple[str, ...]:
        """Where Asterisk is spoken to from: load balancers (they keep the address), Kamailios."""
        return (f"{self.prefix}.0.0/23",)

    @property
    def asterisks(self) -> tuple[str, ...]:
        return (f"{self.prefix}.3.0/24",)

    @property
    def outside(self) -> str:
        """Where SIP clients and web servers of tests and demo live."""
        return f"{self.prefix}.9.0/24"

    @property
    def carriers(self) -> tuple[str, ...]:
        """The addresses whose calls are accepted, as networks."""
        first = ipaddress.IPv4Address(self.address(9, 1))
        last = ipaddress.IPv4Address(self.address(9, 200))
        return tuple(str(part) for part in ipaddress.summarize_address_range(first, last))
