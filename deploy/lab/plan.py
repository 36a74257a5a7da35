"""The farm as data: every process with its name, addresses, ports and environment.

Pure: computed from settings and secrets, so that whoever renders, starts, tests or measures the
lab reads the same description.
"""

from dataclasses import dataclass
from enum import StrEnum

from deploy.lab.credentials import Credentials
from deploy.lab.network import (
    AMQP_PORT,
    ARI_PORT,
    AUDIO_PORT,
    HEALTH_PORT,
    HTTP_PORT,
    KAMAILIO_CONNECTION_PORTS,
    KAMAILIO_SOURCE_PORTS,
    POSTGRESQL_PORT,
    RTPENGINE_CONTROL_PORT,
    SIP_PORT,
    Network,
)
from deploy.lab.paths import LabPaths
from deploy.lab.settings import Settings

ARI_APPLICATION = "evercall"
ARI_USERNAME = "evercall"
USERNAME = "evercall"
DATABASE = "evercall"
VIRTUAL_HOST = "evercall"
SOURCE_DOMAIN = "evercall.test"
"""Every customer of the lab may call as a user of this domain."""


class Kind(StrEnum):
    """What a process is, which decides how it is started and when it is ready."""

    POSTGRESQL = "postgresql"
    EPMD = "epmd"
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


def erlang_node(process: Process) -> str:
    """The name of a broker's node. epmd knows the part before the @, so each has its own."""
    return (
        f"rabbit@{process.name}" if process.index == 1 else f"rabbit-{process.index}@{process.name}"
    )


def plan_farm(settings: Settings, credentials: Credentials, paths: LabPaths) -> Farm:
    """Lay out the farm."""
    network = Network(settings.network)
    servers = (
        _postgresql(network),
        *_rabbitmqs(network, settings.rabbitmq),
        *(_rtpengine(network, index) for index in _numbers(settings.rtpengine)),
        *(_asterisk(network, index) for index in _numbers(settings.asterisk_call)),
        *_nginx(network),
        *(_kamailio(network, index) for index in _numbers(settings.kamailio)),
    )
    services = _Services(settings, network, credentials, paths)
    return Farm(settings, network, (*servers, *services.all()))


def _numbers(count: int) -> range:
    return range(1, count + 1)


def _postgresql(network: Network) -> Process:
    endpoint = Endpoint("tcp", network.postgresql, POSTGRESQL_PORT)
    return Process("postgresql", Kind.POSTGRESQL, 1, (endpoint,))


def _rabbitmqs(network: Network, count: int) -> tuple[Process, ...]:
    """One node brings its epmd (which knows the ports of Erlang nodes by their names) along. Several share
    one, which must not die with any of them."""
    if count == 1:
        return (_rabbitmq(network, 1, (network.epmd_port,)),)
    addresses = [network.rabbitmq(index) for index in _numbers(count)]
    sockets = tuple(Endpoint("tcp", address, network.epmd_port) for address in addresses)
    nodes = (_rabbitmq(network, index) for index in _numbers(count))
    return (Process("epmd", Kind.EPMD, 1, sockets), *nodes)


def _rabbitmq(network: Network, index: int, more: tuple[int, ...] = ()) -> Process:
    name = "rabbitmq" if index == 1 else f"rabbitmq-{index}"
    ports = (AMQP_PORT, network.erlang_distribution_port(index), *more)
    endpoints = tuple(Endpoint("tcp", network.rabbitmq(index), port) for port in ports)
    return Process(name, Kind.RABBITMQ, index, endpoints)


def _nginx(network: Network) -> tuple[Process, Process]:
    """One for HTTP and one for SIP: what happens to the first is nothing to the second."""
    sip = (network.external_sip, network.internal_asterisk, network.internal_kamailio)
    calls = [Endpoint(kind, address, SIP_PORT) for address in sip for kind in ("tcp", "udp")]
    web = [Endpoint("tcp", address, HTTP_PORT) for address in (network.api, network.audio)]
    return (
        Process("nginx", Kind.NGINX, 1, tuple(web)),
        Process("nginx-sip", Kind.NGINX, 2, tuple(calls)),
    )


def _rtpengine(network: Network, index: int) -> Process:
    endpoint = Endpoint("udp", network.rtpengine_external(index), RTPENGINE_CONTROL_PORT)
    return Process(f"rtpengine-{index}", Kind.RTPENGINE, index, (endpoint,))


def _kamailio(network: Network, index: int) -> Process:
    external, internal = network.kamailio_external(index), network.kamailio_internal(index)
    endpoints = [
        Endpoint("udp", external, SIP_PORT),
        Endpoint("tcp", external, SIP_PORT),
        Endpoint("udp", internal, SIP_PORT),
    ]
    ports = (*KAMAILIO_SOURCE_PORTS, *KAMAILIO_CONNECTION_PORTS)
    endpoints += [Endpoint("udp", internal, port) for port in ports]
    return Process(f"kamailio-{index}", Kind.KAMAILIO, index, tuple(endpoints))


def _asterisk(network: Network, index: int) -> Process:
    address = network.asterisk_call(index)
    endpoints = (Endpoint("udp", address, SIP_PORT), Endpoint("tcp", address, ARI_PORT))
    return Process(f"asterisk-call-{index}", Kind.ASTERISK, index, endpoints)


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
            *(self._media_manager(index) for index in _numbers(settings.media_manager)),
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
            "DIAL_TIMEOUT": str(self.settings.dial_timeout),
        }
        return self._service("call_manager", index, address, own, (AUDIO_PORT,))

    def _media_manager(self, index: int) -> Process:
        address = self.network.address(4, 50 + index)
        own = {
            "HTTP_LISTEN": f"{address}:{HTTP_PORT}",
            "RTP_ADDRESS": address,
            "TRUSTED_PROXIES": f"{self.network.api}/32",
            "MEDIA_ALLOWED_NETWORKS": self.network.outside,
        }
        return self._service("media_manager", index, address, own, (HTTP_PORT,))

    def _asterisk_proxy(self, index: int) -> Process:
        address = self.network.address(4, 100 + index)
        own = {
            "ASTERISK_ID": f"call-{index}",
            "SIP_ADDRESS": f"{self.network.asterisk_call(index)}:{SIP_PORT}",
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
            "TRUSTED_PROXIES": f"{self.network.api}/32",
            "DESTINATIONS_ALLOW": self.network.outside,
            "SOURCE_DOMAINS": SOURCE_DOMAIN,
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
        nodes = [network.rabbitmq(index) for index in _numbers(self.settings.rabbitmq)]
        brokers = ",".join(f"{address}:{AMQP_PORT}" for address in nodes)
        values = {
            "AMQP_URL": f"amqp://evercall:{secret.rabbitmq_password}@{brokers}/{VIRTUAL_HOST}",
            "DATABASE_URL": f"postgresql://evercall:{secret.postgresql_password}"
            f"@{network.postgresql}:{POSTGRESQL_PORT}/{DATABASE}",
            "INSTANCE": name,
            "HEALTH_LISTEN": f"{address}:{HEALTH_PORT}",
            "LOG_LEVEL": self.settings.log_level.upper(),
            "LOG_FORMAT": self.settings.log_format,
            "SHARDS": str(self.settings.shards),
        } | (own or {})
        environment = tuple((f"EVERCALL_{key}", value) for key, value in sorted(values.items()))
        endpoints = tuple(Endpoint("tcp", address, port) for port in (HEALTH_PORT, *ports))
        return Process(name, Kind.SERVICE, index, endpoints, module, environment)
