"""The frame around every service: settings, logs, health, signals, stop.

A service's `main.py` gives a `compose` coroutine that builds and starts its parts and returns; the
process then runs until SIGTERM or SIGINT, or until one of its tasks fails.
"""

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Generic, TypeVar

import uvloop
from prometheus_client import Gauge
from pydantic import ValidationError

from evercall.bus.address import Tls
from evercall.bus.bus import Bus
from evercall.service import http, logging
from evercall.service.health import health_app
from evercall.service.lifecycle import Readiness, StopCallback, StopCallbacks, Tasks
from evercall.service.settings import PREFIX, ServiceSettings
from evercall.store.database import Database

S = TypeVar("S", bound=ServiceSettings)

BUILD = Gauge("evercall_build_info", "Always 1", ["service", "version"])

log = logging.get_logger(__name__)


class Process(Generic[S]):
    """What `compose` gets to build a service with."""

    def __init__(self, name: str, settings: S) -> None:
        self.name = name
        self.settings = settings
        self.version = version("evercall")
        self.stopping = asyncio.Event()
        self.tasks = Tasks(self.stopping)
        self.readiness = Readiness()
        self._stop_callbacks = StopCallbacks()
        self._composed = False
        self.readiness.add("composed", lambda: self._composed)

    def on_stop(self, callback: StopCallback) -> None:
        """Registers what is to be done at the stop; last registered, first done."""
        self._stop_callbacks.add(callback)

    async def bus(self) -> Bus:
        """A bus that connects in the background and keeps itself connected."""
        settings = self.settings
        url = settings.amqp_url.get_secret_value()
        tls = Tls(
            settings.amqp_ca_file,
            settings.amqp_certificate_file,
            settings.amqp_key_file,
            settings.amqp_server_name,
        )
        bus = Bus(url, f"{self.name}/{settings.instance}", settings.shards, tls)
        self.readiness.add("broker", lambda: bus.connected)
        self.readiness.add("broker_accepts", lambda: bus.connected and not bus.blocked)
        self.on_stop(bus.close)
        self.tasks.start("bus", bus.run())
        return bus

    async def database(self) -> Database:
        """A database that connects when it can."""
        settings = self.settings
        database = Database(
            settings.database_url.get_secret_value(),
            settings.database_pool,
            password_file=settings.database_password_file,
            name=f"{self.name}/{settings.instance}",
        )
        self.readiness.add("database", lambda: database.available)
        self.on_stop(database.close)
        self.tasks.start("database", database.run())
        return database

    async def run(self, compose: "Callable[[Process[S]], Awaitable[None]]") -> int:
        """Runs the service; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        BUILD.labels(self.name, self.version).set(1)
        app = health_app(self.name, self.version, self.readiness)
        await http.serve(self, app, self.settings.health_listen, "health")
        await compose(self)
        self._composed = True
        _spare_the_collector()
        log.info("service_started", version=self.version)
        await self.stopping.wait()
        await self._stop_callbacks.run()
        await self.tasks.cancel_all()
        log.info("service_stopped", failed=self.tasks.failed)
        return 1 if self.tasks.failed else 0


def _spare_the_collector() -> None:
    """What exists now lives as long as the process: the garbage collector need not go over it again and
    again. Cycles are rare here, so it may wait longer too."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def run_process(
    name: str, settings_class: type[S], compose: Callable[[Process[S]], Awaitable[None]]
) -> None:
    """The `main` of every service. Exits with 0 after an orderly stop, 1 after a failure, 2 when the
    settings are wrong."""
    arguments = _arguments(name)
    try:
        settings = settings_class()
    except ValidationError as error:
        sys.stderr.write(_explain(name, error))
        raise SystemExit(2) from None
    if arguments.print_config:
        sys.stdout.write(settings.model_dump_json(indent=2) + "\n")
        return
    logging.configure(
        name,
        settings.instance,
        level=settings.log_level,
        fmt=settings.log_format,
        personal=settings.log_personal,
    )

    async def main() -> int:
        return await Process(name, settings).run(compose)

    raise SystemExit(uvloop.run(main()))


def _arguments(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--version", action="version", version=version("evercall"))
    parser.add_argument(
        "--print-config", action="store_true", help="print the effective settings, secrets masked"
    )
    return parser.parse_args()


def _explain(name: str, error: ValidationError) -> str:
    lines = [f"{name}: the settings are not complete:"]
    for fault in error.errors():
        variable = PREFIX + "_".join(str(part) for part in fault["loc"]).upper()
        lines.append(f"  {variable}: {fault['msg']}")
    return "\n".join(lines) + "\n"
