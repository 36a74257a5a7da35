"""Asks a process whether it does its work: not "is it there" but "does it answer".

Each kind is asked in its own protocol, from outside, as its users would.
"""

import json
import socket
import subprocess
import urllib.error
import urllib.request
import uuid

from deploy.lab import rootfs
from deploy.lab.launch import postgresql_tool
from deploy.lab.network import POSTGRESQL_PORT
from deploy.lab.paths import LabPaths
from deploy.lab.plan import Endpoint, Farm, Kind, Process

_TIMEOUT_SECONDS = 1.0

READY = ""


def probe(process: Process, farm: Farm, paths: LabPaths) -> str:
    """Empty when the process is ready, else what is missing."""
    try:
        return _probe(process, farm, paths)
    except (OSError, ValueError) as fault:
        return str(fault) or type(fault).__name__


def _probe(process: Process, farm: Farm, paths: LabPaths) -> str:
    match process.kind:
        case Kind.POSTGRESQL:
            return _postgresql(process, paths)
        case Kind.EPMD | Kind.RABBITMQ:
            # RabbitMQ listens for clients when everything else of its start is done.
            return _connects(process.endpoints[0].address, process.endpoints[0].port)
        case Kind.NGINX:
            return _connects(process.address, process.endpoints[0].port)
        case Kind.RTPENGINE:
            return _rtpengine(process.endpoints[0])
        case Kind.KAMAILIO:
            return _sip(farm.network.external_sip, process.endpoints[0])
        case Kind.ASTERISK:
            return _sip(farm.network.internal_asterisk, process.endpoints[0])
        case Kind.SERVICE:
            return _service(process)


def service_version(process: Process) -> str:
    """What a running service says it is."""
    try:
        with urllib.request.urlopen(f"{process.health_url}/live", timeout=_TIMEOUT_SECONDS) as live:  # noqa: S310
            return str(json.load(live)["version"])
    except (OSError, ValueError, KeyError):
        return ""


def _postgresql(process: Process, paths: LabPaths) -> str:
    argv = [postgresql_tool(paths, "pg_isready"), "-h", process.address, "-t", "1"]
    done = subprocess.run(
        rootfs.command(paths, [*argv, "-p", str(POSTGRESQL_PORT)]), capture_output=True, text=True
    )
    return READY if done.returncode == 0 else done.stdout.strip()


def _connects(address: str, port: int) -> str:
    with socket.create_connection((address, port), _TIMEOUT_SECONDS):
        return READY


def _rtpengine(endpoint: Endpoint) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(_TIMEOUT_SECONDS)
        own.connect((endpoint.address, endpoint.port))
        own.send(b"probe d7:command4:pinge")
        return READY if b"pong" in own.recv(2048) else "does not answer ping"


def _sip(source: str, target: Endpoint) -> str:
    """Any answer will do: whether a stranger may ask is not the question here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(_TIMEOUT_SECONDS)
        own.bind((source, 0))
        own.connect((target.address, target.port))
        own.send(_options(f"{source}:{own.getsockname()[1]}", f"{target.address}:{target.port}"))
        return READY if own.recv(2048).startswith(b"SIP/2.0 ") else "does not answer OPTIONS"


def _options(source: str, target: str) -> bytes:
    token = uuid.uuid4().hex
    lines = (
        f"OPTIONS sip:{target} SIP/2.0",
        f"Via: SIP/2.0/UDP {source};branch=z9hG4bK{token};rport",
        "Max-Forwards: 70",
        f"From: <sip:lab@{source}>;tag={token[:8]}",
        f"To: <sip:{target}>",
        f"Call-ID: {token}@lab",
        "CSeq: 1 OPTIONS",
        f"Contact: <sip:lab@{source}>",
        "Content-Length: 0",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _service(process: Process) -> str:
    url = f"{process.health_url}/ready"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS):  # noqa: S310 - http of the lab
            return READY
    except urllib.error.HTTPError as refused:
        checks = json.load(refused).get("checks", {})
        away = ", ".join(name for name, there in checks.items() if not there)
        return f"waits for {away}" if away else f"/ready says {refused.code}"
