"""The composition root: the actors of calls, their ports, the readers, the audio server."""

from datetime import timedelta
from functools import partial

from call_manager.customers import CustomerCalls
from call_manager.domain.call import CallState, index
from call_manager.domain.decide import decide
from call_manager.domain.ports import AUDIO, FARM, ROUTES
from call_manager.domain.turn import Rules
from call_manager.gateways.admission import Admission, AdmissionStore
from call_manager.gateways.audio import AudioPort
from call_manager.gateways.farm import FarmPort
from call_manager.gateways.fetch import Fetcher
from call_manager.gateways.routes import RoutesPort
from call_manager.gateways.speech import EspeakSpeech
from call_manager.gateways.verdict import Verdict
from call_manager.housekeeping import keep_house
from call_manager.observing import observed
from call_manager.rpc import CallReader
from call_manager.serving import audio_app
from call_manager.settings import Settings
from call_manager.store import AudioStore
from call_manager.subscriptions import ACCEPTS, KIND, receive
from evercall.actor.model import ActorKind
from evercall.actor.query import ActorQuery
from evercall.actor.runtime import ActorRuntime
from evercall.actor.store import ActorStore
from evercall.membership.watch import Watch
from evercall.service import http
from evercall.service.guard import HostGuard
from evercall.service.process import Process, run_process
from evercall.service.tenancies import Tenancies

SERVICE = "call_manager"


async def compose(process: Process[Settings]) -> None:
    """Wires the service; the process runs until a signal."""
    settings = process.settings
    bus = await process.bus()
    database = await process.database()

    store = AudioStore(database)
    fetcher = Fetcher(HostGuard(settings.fetch_allowed_networks))
    process.on_stop(fetcher.close)
    speech = EspeakSpeech(settings.espeak_command)
    tenancies = Tenancies(bus)
    await tenancies.start()
    slots, customers = AdmissionStore(database), CustomerCalls(database, bus)
    admission = Admission(slots, tenancies)
    prompts = AudioPort(store, fetcher, speech, tenancies, settings.audio_url)
    routes, farm = RoutesPort(bus, admission), FarmPort(bus)
    await routes.start()
    await farm.start()
    await http.serve(process, audio_app(store), settings.audio_listen, "audio")
    process.tasks.start("housekeeping", keep_house(database, store, slots, customers))

    rules = Rules(
        dial_timeout=timedelta(seconds=settings.dial_timeout),
        longest_duration=timedelta(seconds=settings.longest_call),
        media_streams=settings.media_streams_per_call,
    )
    kind = ActorKind(KIND, CallState, observed(partial(decide, rules)), index)
    reads = ActorQuery(database, SERVICE, kind)
    await bus.serve(SERVICE, CallReader(reads, customers, admission).handlers)
    runtime = ActorRuntime(
        process,
        bus,
        ActorStore(database, SERVICE, [kind], settings.shards),
        SERVICE,
        [kind],
        ACCEPTS,
        receive,
        {ROUTES: routes, FARM: farm, AUDIO: prompts},
        peers=["flow_manager"],
    )
    await runtime.start()
    verdict = Verdict(bus, settings.shards)
    after = settings.asterisk_lost_after
    await Watch(bus, process.tasks, settings.instance, after, verdict.tell).start()


def main() -> None:
    """Runs the service."""
    run_process(SERVICE, Settings, compose)
