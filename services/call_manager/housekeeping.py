"""What has to be swept now and then. Every replica does it: sweeping twice does no harm."""

import asyncio

from call_manager.customers import CustomerCalls
from call_manager.gateways.admission import AdmissionStore
from call_manager.store import AudioStore, forget_unrouted
from evercall.service.errors import Unavailable
from evercall.service.logging import get_logger
from evercall.store.database import Database

INTERVAL = 30.0

log = get_logger(__name__)


async def keep_house(
    database: Database, audio: AudioStore, slots: AdmissionStore, customers: CustomerCalls
) -> None:
    """Sweeps for as long as the process lives, and counts what is there."""
    while True:
        await asyncio.sleep(INTERVAL)
        try:
            await slots.forget_expired()
            await customers.measure()
            unrouted = await forget_unrouted(database)
            unused = await audio.forget_unused()
        except Unavailable:
            continue
        if unrouted or unused:
            log.info("swept", unrouted_calls=unrouted, unused_audio=unused)
