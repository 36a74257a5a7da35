"""The farm as data: every process with its name, addresses, ports and environment.

Pure: computed from settings and secrets, so that whoever renders, starts, tests or measures the
lab reads the same description. Addresses follow one plan below the network prefix (here 127.20):

    127.20.0.x   shared: load balancers (.10 external SIP, .20 Asterisk, .30 Kamailio, .40 API,
                 .45 audio), .50 PostgreSQL, .60 RabbitMQ
    127.20.1.x   Kamailio i: external i, internal 100+i
    127.20.2.x   RTPEngine i: external media and control i, internal media 100+i
    127.20.3.x   Asterisk of the call farm i
    127.20.4.x   our services
    127.20.9.x   the world outside: carriers 1-200, strangers 201-254
"""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from deploy.lab.credentials import Credentials
from deploy.lab.paths import LabPaths
from deploy.lab.settings import Settings

SIP_PORT = 5060
# Kamailio's second internal socket, for dialogs with clients whose connection only it has.
KAMAILIO_CONNECTION_PORT = 5061
# A load balancer pins a flow to a backend, so each Kamailio sends from several ports.
KAMAILIO_SOURCE_PORTS = tuple(range(5070, 5078))
KAMAILIO_RPC_PORT = 2049
RTPENGINE_CONTROL_PORT = 22222
RTPENGINE_MEDIA_PORTS = (20000, 29999)
ASTERISK_MEDIA_PORTS = (10000, 19999)
ARI_PORT = 8088
HEALTH_PORT = 9100
HTTP_PORT = 8080
AUDIO_PORT = 8081
POSTGRESQL_PORT = 5432
AMQP_PORT = 5672
EPMD_PORT = 4369
ERLANG_DISTRIBUTION_PORT = 25672

ARI_USERNAME = "evercall"
DATABASE = "evercall"
VIRTUAL_HOST = "evercall"


class Kind(StrEnum):
    """What a process is, which decides how it is started and when it is ready."""

    POSTGRESQL = "postgresql"
    RABBITMQ = "rabbitmq"
    NGINX = "nginx"
    RTPENGINE = "rtpengine"
    KAMAILIO = "kamailio"
    ASTERISK = "asterisk"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A socket that a process listens on."""

    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Process:
    """One supervised process. Servers run inside the root file system, services outside."""

    name: str
    kind: Kind
    index: int
    endpoints: tuple[Endpoint, ...]
    module: str = ""
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def address(self) -> str:
        return self.endpoints[0].address

    @property
    def health_url(self) -> str:
        """Of a service: base of /live, /ready and /metrics."""
        return f"http://{self.address}:{HEALTH_PORT}"


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

    @property
    def rabbitmq(self) -> str:
        return self.address(0, 60)

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
    def outside(self) -> str:
        """Where SIP clients and web servers of tests and demo live."""
        return f"{self.prefix}.9.0/24"

    @property
    def carriers(self) -> tuple[str, ...]:
        """The addresses whose calls are accepted, as networks."""
        first = ipaddress.IPv4Address(self.address(9, 1))
        last = ipaddress.IPv4Address(self.address(9, 200))
        return tuple(str(part) for part in ipaddress.summarize_address_range(first, last))


@dataclass(frozen=True, slots=True)
class Farm:
    """Everything that runs, in the order in which it is started."""

    settings: Settings
    network: Network
    processes: tuple[Process, ...]

    def of_kind(self, kind: Kind) -> tuple[Process, ...]:
        return tuple(process for process in self.processes if process.kind is kind)

    def of_module(self, module: str) -> tuple[Process, ...]:
        return tuple(process for process in self.processes if process.module == module)

    def named(self, name: str) -> Process:
        return next(process for process in self.processes if process.name == name)

    @property
    def api_url(self) -> str:
        return f"http://{self.network.api}:{HTTP_PORT}"


def plan_farm(settings: Settings, credentials: Credentials, paths: LabPaths) -> Farm:
    """Lay out the farm."""
    network = Network(settings.network)
    servers = (
        _postgresql(network),
        _rabbitmq(network),
        *(_rtpengine(network, index) for index in _numbers(settings.rtpengine)),
        *(_asterisk(network, index) for index in _numbers(settings.asterisk_call)),
        _nginx(network),
        *(_kamailio(network, index) for index in _numbers(settings.kamailio)),
    )
    services = _Services(settings, network, credentials, paths)
    return Farm(settings, network, (*servers, *services.all()))


def _numbers(count: int) -> range:
    return range(1, count + 1)


def _postgresql(network: Network) -> Process:
    endpoint = Endpoint("tcp", network.postgresql, POSTGRESQL_PORT)
    return Process("postgresql", Kind.POSTGRESQL, 1, (endpoint,))


def _rabbitmq(network: Network) -> Process:
    ports = (AMQP_PORT, EPMD_PORT, ERLANG_DISTRIBUTION_PORT)
    endpoints = tuple(Endpoint("tcp", network.rabbitmq, port) for port in ports)
    return Process("rabbitmq", Kind.RABBITMQ, 1, endpoints)


def _nginx(network: Network) -> Process:
    sip = (network.external_sip, network.internal_asterisk, network.internal_kamailio)
    endpoints = [Endpoint(kind, address, SIP_PORT) for address in sip for kind in ("udp", "tcp")]
    endpoints += [Endpoint("tcp", address, HTTP_PORT) for address in (network.api, network.audio)]
    return Process("nginx", Kind.NGINX, 1, tuple(endpoints))


def _rtpengine(network: Network, index: int) -> Process:
    endpoint = Endpoint("udp", network.rtpengine_external(index), RTPENGINE_CONTROL_PORT)
    return Process(f"rtpengine-{index}", Kind.RTPENGINE, index, (endpoint,))


def _kamailio(network: Network, index: int) -> Process:
    external, internal = network.kamailio_external(index), network.kamailio_internal(index)
    endpoints = [
        Endpoint("udp", external, SIP_PORT),
        Endpoint("tcp", external, SIP_PORT),
        Endpoint("udp", internal, SIP_PORT),
        Endpoint("udp", internal, KAMAILIO_CONNECTION_PORT),
    ]
    endpoints += [Endpoint("udp", internal, port) for port in KAMAILIO_SOURCE_PORTS]
    return Process(f"kamailio-{index}", Kind.KAMAILIO, index, tuple(endpoints))


def _asterisk(network: Network, index: int) -> Process:
    endpoint = Endpoint("udp", network.asterisk_call(index), SIP_PORT)
    return Process(f"asterisk-call-{index}", Kind.ASTERISK, index, (endpoint,))


@dataclass(frozen=True, slots=True)
class _Services:
    """Lays out the Python services; each kind has ten addresses, the proxies a hundred."""

    settings: Settings
    network: Network
    credentials: Credentials
    paths: LabPaths

    def all(self) -> tuple[Process, ...]:
        settings = self.settings
        return (
            *(self._route_manager(index) for index in _numbers(settings.route_manager)),
            *(self._flow_manager(index) for index in _numbers(settings.flow_manager)),
            *(self._call_manager(index) for index in _numbers(settings.call_manager)),
            *(self._asterisk_proxy(index) for index in _numbers(settings.asterisk_call)),
            *(self._api_manager(index) for index in _numbers(settings.api_manager)),
        )

    def _route_manager(self, index: int) -> Process:
        return self._service("route_manager", index, self.network.address(4, 30 + index))

    def _flow_manager(self, index: int) -> Process:
        return self._service("flow_manager", index, self.network.address(4, 20 + index))

    def _call_manager(self, index: int) -> Process:
        address = self.network.address(4, 10 + index)
        own = {
            "AUDIO_LISTEN": f"{address}:{AUDIO_PORT}",
            "AUDIO_URL": f"http://{self.network.audio}:{HTTP_PORT}/audio",
            "ESPEAK_COMMAND": str(self.paths.bin / "espeak-ng"),
            "FETCH_ALLOWED_NETWORKS": self.network.outside,
        }
        return self._service("call_manager", index, address, own, (AUDIO_PORT,))

    def _asterisk_proxy(self, index: int) -> Process:
        address = self.network.address(4, 100 + index)
        own = {
            "ASTERISK_ID": f"call-{index}",
            "ARI_LISTEN": f"{address}:{ARI_PORT}",
            "ARI_USERNAME": ARI_USERNAME,
            "ARI_PASSWORD": self.credentials.ari_password,
        }
        return self._service("asterisk_proxy", index, address, own, (ARI_PORT,))

    def _api_manager(self, index: int) -> Process:
        address = self.network.address(4, 40 + index)
        own = {
            "HTTP_LISTEN": f"{address}:{HTTP_PORT}",
            "JWT_KEY": self.credentials.jwt_key,
            "ADMIN_ACCESSKEY": self.credentials.admin_accesskey,
        }
        return self._service("api_manager", index, address, own, (HTTP_PORT,))

    def _service(
        self,
        module: str,
        index: int,
        address: str,
        own: dict[str, str] | None = None,
        ports: tuple[int, ...] = (),
    ) -> Process:
        name = f"{module}-{index}"
        secret, network = self.credentials, self.network
        values = {
            "AMQP_URL": f"amqp://evercall:{secret.rabbitmq_password}@{network.rabbitmq}:{AMQP_PORT}"
            f"/{VIRTUAL_HOST}",
            "DATABASE_URL": f"postgresql+asyncpg://evercall:{secret.postgresql_password}"
            f"@{network.postgresql}:{POSTGRESQL_PORT}/{DATABASE}",
            "INSTANCE": name,
            "HEALTH_LISTEN": f"{address}:{HEALTH_PORT}",
            "LOG_LEVEL": self.settings.log_level,
            "LOG_FORMAT": self.settings.log_format,
            "SHARDS": str(self.settings.shards),
        } | (own or {})
        environment = tuple((f"EVERCALL_{key}", value) for key, value in sorted(values.items()))
        endpoints = tuple(Endpoint("tcp", address, port) for port in (HEALTH_PORT, *ports))
        return Process(name, Kind.SERVICE, index, endpoints, module, environment)
