"""Renders the configuration of every server below `.lab/etc`.

The templates of Kamailio, Asterisk and RTPEngine are the ones that every deployment uses
(`kamailio/`, `asterisk/`, `rtpengine/`); those of nginx, PostgreSQL and RabbitMQ belong to the lab.
A template names its variables at its head. Inside the root file system each server finds its files
where its Debian package would have put them, so a template need not know that it is in a lab.
"""

import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from deploy.lab import network as ports
from deploy.lab import plan
from deploy.lab.credentials import Credentials, write_private
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Farm, Kind, Process

_OWN_TEMPLATES = Path(__file__).parent / "templates"

Variables = Mapping[str, Any]


def render_text(template: Path, variables: Variables) -> str:
    """One template. A variable that is missing is an error, not an empty text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - configuration files, not HTML
    )
    return environment.get_template(template.name).render(variables)


def render_folder(templates: Path, variables: Variables, target: Path) -> None:
    """Every `*.j2` below `templates`, into a fresh `target`."""
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True, mode=0o700)
    for template in sorted(templates.rglob("*.j2")):
        file = target / template.relative_to(templates).with_suffix("")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_private(file, render_text(template, variables))


def render_servers(farm: Farm, credentials: Credentials, paths: LabPaths) -> None:
    """The configuration of all servers, and the names that they know each other by."""
    paths.etc.mkdir(parents=True, exist_ok=True, mode=0o700)
    (paths.etc / "hosts").write_text(hosts(farm))
    for process in farm.processes:
        if process.kind not in (Kind.SERVICE, Kind.EPMD):
            templates = templates_of(process.kind, paths.project)
            render_folder(templates, variables(process, farm, credentials), etc_of(process, paths))


def etc_of(process: Process, paths: LabPaths) -> Path:
    """Where a server's rendered files are."""
    return paths.etc / process.name


def templates_of(kind: Kind, project: Path) -> Path:
    """Where the templates of a kind of server are."""
    if kind in (Kind.KAMAILIO, Kind.ASTERISK, Kind.RTPENGINE):
        return project / kind / "templates"
    return _OWN_TEMPLATES / kind


def own_template(name: str) -> Path:
    """A template of the lab's own."""
    return _OWN_TEMPLATES / f"{name}.j2"


def hosts(farm: Farm) -> str:
    """/etc/hosts inside the root file system: every process under its own name."""
    lines = ["127.0.0.1 localhost"]
    lines += [f"{process.address} {process.name}" for process in farm.processes]
    return "\n".join(lines) + "\n"


def variables(process: Process, farm: Farm, credentials: Credentials) -> Variables:
    """What the templates of a server may use."""
    match process.kind:
        case Kind.KAMAILIO:
            return _kamailio(process, farm, credentials)
        case Kind.ASTERISK:
            return _asterisk(process, farm, credentials)
        case Kind.RTPENGINE:
            return _rtpengine(process, farm)
        case Kind.NGINX:
            return _nginx(process, farm)
        case Kind.POSTGRESQL:
            return _postgresql(farm)
        case Kind.RABBITMQ:
            return _rabbitmq(process, farm, credentials)
        case Kind.SERVICE | Kind.EPMD:
            return {}


def _kamailio(process: Process, farm: Farm, credentials: Credentials) -> Variables:
    network = farm.network
    return {
        "EXTERNAL_ADDRESS": network.kamailio_external(process.index),
        "EXTERNAL_PORT": ports.SIP_PORT,
        "EXTERNAL_LB_ADDRESS": network.external_sip,
        "EXTERNAL_LB_PORT": ports.SIP_PORT,
        "INTERNAL_ADDRESS": network.kamailio_internal(process.index),
        "INTERNAL_PORT": ports.SIP_PORT,
        "INTERNAL_LB_ADDRESS": network.internal_kamailio,
        "INTERNAL_LB_PORT": ports.SIP_PORT,
        "SOURCE_PORTS": list(ports.KAMAILIO_SOURCE_PORTS),
        "CONNECTION_SOURCE_PORTS": list(ports.KAMAILIO_CONNECTION_PORTS),
        "ASTERISK_LB_ADDRESS": network.internal_asterisk,
        "ASTERISK_LB_PORT": ports.SIP_PORT,
        "ASTERISK_NETWORKS": list(network.asterisks),
        "INTERNAL_NETWORKS": list(network.inside),
        "CARRIER_NETWORKS": list(network.carriers),
        "RESERVED_NETWORKS": list(ports.RESERVED_NETWORKS),
        "OUTBOUND_NETWORKS": [network.outside],
        "DOMAINS": [],
        # nginx keeps a client's address, but on one machine the port is in use by the client.
        "EXTERNAL_LB_REWRITES_PORT": True,
        "RTPENGINE_SOCKETS": [
            f"udp:{peer.address}:{ports.RTPENGINE_CONTROL_PORT}"
            for peer in farm.of_kind(Kind.RTPENGINE)
        ],
        "OUTBOUND_CODECS": ["PCMA", "G722"],
        "DIALOG_KEYS": credentials.dialog_keys.split(","),
        "DIALOG_REQUESTS": 60,
        "CARRIER_INVITES": 300,
        "TCP_CONNECTIONS_PER_ADDRESS": 64,
        "TCP_IDLE_SECONDS": 30,
        "PIKE_REQUESTS": 60,
        "PIKE_SECONDS": 2,
        "PIKE_BLOCK_SECONDS": 10,
        "UDP_WORKERS": 2,
        "TCP_WORKERS": 2,
        "LOG_LEVEL": 0,
        "CONFIG_DIRECTORY": "/etc/kamailio",
        "RUN_DIRECTORY": "/run/kamailio",
    }


def _asterisk(process: Process, farm: Farm, credentials: Credentials) -> Variables:
    network = farm.network
    proxy = farm.named(f"asterisk_proxy-{process.index}")
    low, high = ports.ASTERISK_MEDIA_PORTS
    return {
        "ASTERISK_ID": f"call-{process.index}",
        "CONFIG_DIRECTORY": "/etc/asterisk",
        "MODULE_DIRECTORY": f"/usr/lib/{platform.machine()}-linux-gnu/asterisk/modules",
        "DATA_DIRECTORY": "/usr/share/asterisk",
        "KEY_DIRECTORY": "/usr/share/asterisk/keys",
        "STATE_DIRECTORY": "/var/lib/asterisk",
        "CACHE_DIRECTORY": "/var/cache/asterisk",
        "SPOOL_DIRECTORY": "/var/spool/asterisk",
        "RUN_DIRECTORY": "/run/asterisk",
        "LOG_DIRECTORY": "/var/log/asterisk",
        "MAX_CALLS": 0,
        "MAX_LOAD": 0,
        "SIP_ADDRESS": process.address,
        "SIP_PORT": ports.SIP_PORT,
        "MEDIA_ADDRESS": process.address,
        "RTP_PORT_MIN": low,
        "RTP_PORT_MAX": high,
        "RTP_TIMEOUT": 60,
        "KAMAILIO_LB_ADDRESS": network.internal_kamailio,
        "KAMAILIO_LB_PORT": ports.SIP_PORT,
        "KAMAILIO_NETWORKS": list(network.kamailios),
        "FROM_DOMAIN": network.external_sip,
        # EVERCALL_LONGEST_CALL of call_manager, which the lab leaves at its default, and five minutes.
        "CHANNEL_SECONDS": 3600 + 300,
        "ARI_APPLICATION": plan.ARI_APPLICATION,
        "ARI_ADDRESS": process.address,
        "ARI_PORT": ports.ARI_PORT,
        "ARI_PROXY_URL": f"ws://{proxy.address}:{ports.ARI_PORT}/",
        "ARI_USERNAME": plan.ARI_USERNAME,
        "ARI_PASSWORD": credentials.ari_password,
        # What Asterisk does without us, for `make bench` to compare with.
        "BENCH": True,
        "BENCH_SOUND": "/var/lib/asterisk/bench/second",
        "BENCH_NETWORKS": [network.outside],
    }


def _rtpengine(process: Process, farm: Farm) -> Variables:
    low, high = ports.RTPENGINE_MEDIA_PORTS
    return {
        "NG_ADDRESS": process.address,
        "NG_PORT": ports.RTPENGINE_CONTROL_PORT,
        "EXTERNAL_ADDRESS": farm.network.rtpengine_external(process.index),
        "INTERNAL_ADDRESS": farm.network.rtpengine_internal(process.index),
        "PORT_MIN": low,
        "PORT_MAX": high,
        "NUM_THREADS": 2,
        "TIMEOUT": 60,
        "SILENT_TIMEOUT": 3600,
        "OFFER_TIMEOUT": 180,
        # A call has two ports on each of the two addresses; a tenth is left for offers of more than one stream.
        "MAX_SESSIONS": (high - low + 1) // 2 * 9 // 10,
        "MAX_CPU": 0,
        "MAX_BANDWIDTH": 0,
        "DELETE_DELAY": 5,
        "TOS": 184,
        "LOG_LEVEL": 5,
    }


def _nginx(process: Process, farm: Farm) -> Variables:
    network = farm.network
    kamailios, asterisks = farm.of_kind(Kind.KAMAILIO), farm.of_kind(Kind.ASTERISK)
    outside = [f"{network.kamailio_external(peer.index)}:{ports.SIP_PORT}" for peer in kamailios]
    inside = [f"{network.kamailio_internal(peer.index)}:{ports.SIP_PORT}" for peer in kamailios]
    calls = [f"{peer.address}:{ports.SIP_PORT}" for peer in asterisks]
    media = [f"{peer.address}:{ports.HTTP_PORT}" for peer in farm.of_module("media_manager")]
    apis = [f"{peer.address}:{ports.HTTP_PORT}" for peer in farm.of_module("api_manager")]
    audio = [f"{peer.address}:{ports.AUDIO_PORT}" for peer in farm.of_module("call_manager")]
    sip = [
        ("kamailio_external", network.external_sip, outside),
        ("kamailio_internal", network.internal_kamailio, inside),
        ("asterisk", network.internal_asterisk, calls),
    ]
    web = [
        ("api", network.api, ports.HTTP_PORT, apis),
        ("audio", network.audio, ports.HTTP_PORT, audio),
    ]
    is_web = process.endpoints[0].port == ports.HTTP_PORT
    return {
        "SIP_PORT": ports.SIP_PORT,
        "SIP_BALANCERS": [] if is_web else sip,
        "HTTP_BALANCERS": web if is_web else [],
        "MEDIA_STREAMS": media,
    }


def _postgresql(farm: Farm) -> Variables:
    return {
        "ADDRESS": farm.network.postgresql,
        "PORT": ports.POSTGRESQL_PORT,
    }


def _rabbitmq(process: Process, farm: Farm, credentials: Credentials) -> Variables:
    nodes = [plan.erlang_node(node) for node in farm.of_kind(Kind.RABBITMQ)]
    return {
        "ADDRESS": process.address,
        "NODES": nodes if len(nodes) > 1 else [],
        "PORT": ports.AMQP_PORT,
        "USERNAME": plan.USERNAME,
        "PASSWORD": credentials.rabbitmq_password,
        "VIRTUAL_HOST": plan.VIRTUAL_HOST,
    }
