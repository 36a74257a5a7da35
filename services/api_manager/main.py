"""The composition root: stores, credentials, the application, and the sweeper of what is old."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from api_manager.access import AccessHandlers
from api_manager.app import build_app, limits_of
from api_manager.audit.store import AuditStore
from api_manager.audit.trail import AuditTrail
from api_manager.authentication import Authenticator
from api_manager.calling import Calling
from api_manager.components import Components, OperationLimits
from api_manager.idempotency import SWEEP_AT_ONCE, IdempotencyStore
from api_manager.settings import Settings
from api_manager.store import AccesskeyStore, CustomerStore
from api_manager.tenancy import TenancyHandlers, keep_frozen
from api_manager.tokens import TokenSigner
from evercall.bus.bus import Bus
from evercall.service import http
from evercall.service.errors import Unavailable
from evercall.service.logging import get_logger
from evercall.service.process import Process, run_process
from evercall.store.database import Database

SWEEP_INTERVAL = 600.0

log = get_logger(__name__)


async def compose(process: Process[Settings]) -> None:
    """Wires the service; the process runs until a signal."""
    settings = process.settings
    bus = await process.bus()
    components = build_components(settings, bus, await process.database())
    process.on_stop(components.audit.flush)
    process.tasks.start("audit", components.audit.run())
    process.tasks.start("sweep", _sweep(components, settings.audit_days))
    limits = limits_of(settings)
    access = AccessHandlers(
        components.authenticator, components.customers, components.audit, limits, time.monotonic
    )
    tenancy = TenancyHandlers(components.customers)
    await bus.serve("api_manager", {**access.handlers, **tenancy.handlers})
    process.tasks.start("freezer", keep_frozen(components.customers, bus))
    app = build_app(settings, components, process.version, limits)
    await http.serve(process, app, settings.http_listen, "api")


def build_components(settings: Settings, bus: Bus, database: Database) -> Components:
    """Everything that handlers work with."""
    accesskeys, audit_log = AccesskeyStore(database), AuditStore(database)
    signer = TokenSigner(
        settings.jwt_key.get_secret_value(),
        timedelta(seconds=settings.jwt_seconds),
        lambda: datetime.now(UTC),
    )
    authenticator = Authenticator(
        accesskeys,
        signer,
        admin_accesskey=settings.admin_accesskey.get_secret_value(),
        cache_seconds=settings.accesskey_cache_seconds,
        clock=time.monotonic,
    )
    return Components(
        bus=bus,
        customers=CustomerStore(database, settings.default_quotas),
        accesskeys=accesskeys,
        idempotency=IdempotencyStore(database),
        audit=AuditTrail(audit_log),
        audit_log=audit_log,
        authenticator=authenticator,
        limits=OperationLimits(settings.request_seconds, settings.body_bytes),
        calling=Calling(
            bus,
            settings.destination_rules,
            frozenset(part.strip().lower() for part in settings.source_domains.split(",")),
        ),
    )


async def _sweep(components: Components, audit_days: int) -> None:
    """Deletes answers that are older than a day, and what is old in the audit log. Replicas may do it side
    by side."""
    while True:
        try:
            while await components.idempotency.sweep() >= SWEEP_AT_ONCE:
                pass
            while await components.audit_log.sweep(audit_days) >= SWEEP_AT_ONCE:
                pass
        except Unavailable:
            log.info("sweep_postponed")
        await asyncio.sleep(SWEEP_INTERVAL)


def main() -> None:
    run_process("api_manager", Settings, compose)
