"""Whatever happens, in whatever order: the invariants of a call hold."""

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs

from evercall.contracts.asterisk import NO_ANSWER, ProxyReason
from evercall.contracts.call import CallDelete, CallFlowStopped, CallStatus, HangupReason
from evercall.contracts.flow import RunAction
from evercall.service.errors import Conflict, NotFound, PlatformError
from tests.unit.call_manager.stage import (
    ANSWER,
    AWAY,
    BYE_BUSY,
    CALL_ID,
    CHANNEL,
    CUSTOMER,
    HANGUP,
    NO_ROUTE,
    PLAY,
    PROMPT,
    ROUTE,
    SLEEP,
    TALK,
    Stage,
    action,
    create,
    digits,
    gone,
    hangup,
    lost,
    played,
    receive_digits,
    refused,
    ringing,
    seen,
    started,
    up,
)
from tests.unit.call_manager.test_call_transitions import ALLOWED

ACTIONS = st.sampled_from(
    [
        ANSWER,
        PLAY,
        TALK,
        SLEEP,
        HANGUP,
        BYE_BUSY,
        receive_digits(),
        receive_digits(3, "#"),
        action("?"),
    ]
)
REFUSALS = st.sampled_from(
    [AWAY, NotFound("flow_not_found", ""), Conflict("activeflow_already_stopped", "")]
)
OUT = f"{CALL_ID}.1"


class CallMachine(RuleBasedStateMachine):
    """Plays the world against one call."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.channel = CHANNEL
        self.ended_as: tuple[object, ...] | None = None
        self.status: CallStatus | None = None
        self.told_at_end: int | None = None

    @initialize(
        outgoing=st.booleans(),
        slow_route=st.booleans(),
        slow_farm=st.booleans(),
        slow_audio=st.booleans(),
    )
    def begin(self, outgoing: bool, slow_route: bool, slow_farm: bool, slow_audio: bool) -> None:
        ports = self.stage.ports
        ports["routes"] = None if slow_route else ROUTE
        ports["audio"] = None if slow_audio else PROMPT
        ports["farm"] = None if slow_farm else ports["farm"]
        if outgoing:
            self.channel = OUT
            self.stage.hear(create())
        else:
            self.stage.hear(started())

    # -- Asterisk ----------------------------------------------------------------------------------

    @rule()
    def enters(self) -> None:
        context = "call-in" if self.channel == CHANNEL else "call-out"
        self.stage.hear(started(context=context, channel_id=self.channel))

    @rule()
    def is_up(self) -> None:
        self.stage.hear(up(self.channel))

    @rule()
    def rings(self) -> None:
        self.stage.hear(ringing())

    @rule(typed=st.text("0123456789*#", min_size=1, max_size=5))
    def types(self, typed: str) -> None:
        for message in digits(typed):
            self.stage.hear(structs.replace(message, channel_id=self.channel))

    @rule(failed=st.booleans())
    def current_playback_ends(self, failed: bool) -> None:
        work = self.stage.call.work
        if work is not None:
            self.stage.hear(played(work.place, failed=failed))

    @rule(place=st.sampled_from(["1-0", "1-1", "2-0", "9-9"]))
    def some_playback_ends(self, place: str) -> None:
        self.stage.hear(played(place))

    @rule(cause=st.sampled_from([0, 1, 16, 17, 19, 21, 26, 31, 38, 127]))
    def hangs_up(self, cause: int) -> None:
        self.stage.hear(gone(cause, self.channel))

    @rule(status=st.sampled_from([404, 409, 500]), pick=st.integers(0, 50))
    def refuses(self, status: int, pick: int) -> None:
        if self.stage.commands:
            command = self.stage.commands[pick % len(self.stage.commands)]
            self.stage.hear(refused(command.key, status))

    @rule(reason=st.sampled_from(ProxyReason), pick=st.integers(0, 50))
    def does_not_give(self, reason: ProxyReason, pick: int) -> None:
        if self.stage.commands:
            command = self.stage.commands[pick % len(self.stage.commands)]
            self.stage.hear(refused(command.key, NO_ANSWER, reason))

    @rule(boot=st.sampled_from("12"))
    def is_lost(self, boot: str) -> None:
        self.stage.hear(lost(f"boot-{boot}", at=self.stage.now))

    @rule(state=st.sampled_from([None, "Ring", "Ringing", "Up"]), boot=st.sampled_from("112"))
    def is_seen(self, state: str | None, boot: str) -> None:
        name = "own" if self.channel == CHANNEL else "out"
        channels = {} if state is None else {name: state}
        self.stage.hear(seen(f"boot-{boot}", **channels))

    # -- the platform ------------------------------------------------------------------------------

    @rule(actions=st.lists(ACTIONS, max_size=5), final=st.booleans())
    def gives_a_run(self, actions: list[RunAction], final: bool) -> None:
        for key in [key for key in self.stage.pending if key.startswith("run.")]:
            self.stage.give_run(*actions, final=final, sequence=int(key[4:]))

    @rule(
        error=st.sampled_from(
            [AWAY, NotFound("flow_not_found", ""), Conflict("activeflow_already_stopped", "")]
        )
    )
    def refuses_a_run(self, error: PlatformError) -> None:
        for key in [key for key in self.stage.pending if key.startswith("run.")]:
            self.stage.fail(key, error)

    @rule(fails=st.booleans())
    def audio_is_ready(self, fails: bool) -> None:
        for key in [key for key in self.stage.pending if key.startswith("audio.")]:
            if fails:
                self.stage.fail(key, AWAY)
            else:
                self.stage.answer(key, PROMPT)

    @rule(error=st.sampled_from([None, NO_ROUTE, AWAY]))
    def route_is_found_or_not(self, error: PlatformError | None) -> None:
        if error is None:
            self.stage.answer("route", ROUTE)
        else:
            self.stage.fail("route", error)

    @rule(fails=st.booleans())
    def asterisk_is_chosen(self, fails: bool) -> None:
        if fails:
            self.stage.fail("asterisk", AWAY)
        else:
            self.stage.answer("asterisk", Stage().ports["farm"])

    @rule()
    def is_asked_to_hang_up(self) -> None:
        self.stage.hear(hangup())

    @rule()
    def is_deleted(self) -> None:
        self.stage.hear(CallDelete(id=CALL_ID, customer_id=CUSTOMER))

    @rule()
    def flow_is_stopped(self) -> None:
        activeflow = self.stage.call.activeflow_id
        if activeflow is not None:
            self.stage.hear(CallFlowStopped(id=CALL_ID, activeflow_id=activeflow))

    @rule(seconds=st.sampled_from([0.1, 1, 5, 31, 61, 3601]))
    def time_passes(self, seconds: float) -> None:
        self.stage.wait(timedelta(seconds=seconds))

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def status_moves_as_the_interface_says(self) -> None:
        if self.stage.state is None:
            return
        now = self.stage.status()
        if self.status not in (None, now):
            # A rule may make several steps; every step of ALLOWED leads to hangup in the end.
            assert _reachable(self.status, now)
        self.status = now

    @invariant()
    def a_reason_is_set_exactly_once(self) -> None:
        if self.stage.state is None:
            return
        call = self.stage.call
        over = call.status is CallStatus.HANGUP
        if call.customer_id is not None:
            assert (call.hangup_reason is not HangupReason.NONE) is over
            assert (call.tm_hangup is not None) is over
            assert self.stage.event_names.count("hangup") == int(over)
        if over:
            end = (call.hangup_reason, call.hangup_by, call.tm_hangup)
            assert self.ended_as in (None, end)
            self.ended_as = end

    @invariant()
    def only_what_is_under_way_is_repeated(self) -> None:
        """Whoever takes the call over sends again what is pending."""
        if self.stage.state is None or self.stage.status() is CallStatus.HANGUP:
            return
        pending = set(self.stage.pending)
        work = self.stage.call.work
        playing = {f"play.{work.place}"} if work is not None else set()
        assert {key for key in pending if key.startswith("play")} <= playing
        ending = self.stage.status() in (CallStatus.TERMINATING, CallStatus.CANCELING)
        assert ("hangup" in pending) is ending
        assert not ending or pending == {"hangup"}
        assert not {"stop", "ring", "stray"} & {key.partition(".")[0] for key in pending}

    @invariant()
    def what_is_over_owes_nothing(self) -> None:
        if self.stage.state is not None and self.stage.status() is CallStatus.HANGUP:
            self.stage.assert_over()

    @invariant()
    def what_lives_has_something_that_will_end_it(self) -> None:
        if self.stage.state is None or self.stage.status() is CallStatus.HANGUP:
            return
        assert self.stage.timers or "route" in self.stage.pending

    @invariant()
    def the_flow_is_released_once(self) -> None:
        if self.stage.state is None:
            return
        over = self.stage.status() is CallStatus.HANGUP
        started_flow = self.stage.call.activeflow_id is not None
        assert len(self.stage.tells) == int(over and started_flow)

    @invariant()
    def after_the_end_only_strays_are_hung_up(self) -> None:
        if self.stage.state is None or self.stage.status() is not CallStatus.HANGUP:
            return
        if self.told_at_end is None:
            self.told_at_end = len(self.stage.commands)
        assert all(told.key == "stray" for told in self.stage.commands[self.told_at_end :])


def _reachable(start: CallStatus | None, end: CallStatus) -> bool:
    if start is None:
        return True
    allowed = {CallStatus(name) for name in ALLOWED[start]}
    return end in allowed or any(_reachable(step, end) for step in allowed)


TestCallMachine = CallMachine.TestCase
TestCallMachine.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
