"""The life of an activeflow, message by message."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import pytest

from evercall.actor.model import (
    Answered,
    Ask,
    CancelTimer,
    Effect,
    Failed,
    Publish,
    Reply,
    ReplyError,
    SetTimer,
    Settle,
    Tell,
    TimerFired,
)
from evercall.contracts.base import Address, AddressType, ErrorData, Message
from evercall.contracts.call import Call, CallFlowStopped, CallGet, CallStatus, Direction
from evercall.contracts.flow import (
    Activeflow,
    ActiveflowDelete,
    ActiveflowReferenceEnded,
    ActiveflowStart,
    ActiveflowStatus,
    ActiveflowStop,
    EndReason,
    Flow,
    FlowGet,
    Run,
    RunReport,
)
from evercall.service.errors import PlatformError
from flow_manager.domain.actions import DIGITS
from flow_manager.domain.activeflow import (
    ACTIVEFLOW,
    REFERENCE_CHECK,
    TRANSITIONS,
    Illegal,
    Transition,
    decide,
)
from flow_manager.domain.state import (
    MAX_EXECUTED_ACTIONS,
    ActiveflowState,
    Status,
    to_resource,
)
from tests.unit.flow_manager.builders import CUSTOMER, FLOW_ID, act, digits, flow, name, say

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=10)
ACTIVEFLOW_ID = UUID("018f0000-0000-7000-8000-0000000000cc")
CALL_ID = UUID("018f0000-0000-7000-8000-0000000000dd")
STRANGER = UUID("018f0000-0000-7000-8000-0000000000ee")

START = ActiveflowStart(
    id=ACTIVEFLOW_ID,
    customer_id=CUSTOMER,
    flow_id=FLOW_ID,
    reference_type="call",
    reference_id=CALL_ID,
    variables={"voipbin.call.id": str(CALL_ID), "lang": "en"},
)
STOP = ActiveflowStop(id=ACTIVEFLOW_ID, customer_id=CUSTOMER)
DELETE = ActiveflowDelete(id=ACTIVEFLOW_ID, customer_id=CUSTOMER)
E = TypeVar("E")


def ended(sequence: int, executed: int) -> ActiveflowReferenceEnded:
    return ActiveflowReferenceEnded(
        activeflow_id=ACTIVEFLOW_ID, sequence=sequence, executed=executed
    )


def report(sequence: int, pressed: str | None = None) -> RunReport:
    return RunReport(activeflow_id=ACTIVEFLOW_ID, sequence=sequence, digits=pressed)


def flow_answer(*actions: Any) -> Answered:
    body = Flow(
        id=FLOW_ID, customer_id=CUSTOMER, actions=flow(*actions), tm_create=NOW, tm_update=NOW
    )
    return Answered(key="flow", body=body)


def call_answer(status: CallStatus) -> Answered:
    party = Address(type=AddressType.TEL, target="+821100000001")
    body = Call(
        id=CALL_ID,
        customer_id=CUSTOMER,
        source=party,
        destination=party,
        status=status,
        direction=Direction.INCOMING,
        tm_create=NOW,
        tm_update=NOW,
    )
    return Answered(key="reference", body=body)


def failure(key: str, code: str) -> Failed:
    return Failed(key=key, error=ErrorData(code=code, message="no", details={"http_status": 404}))


class Play:
    """An activeflow that is told one thing after the other. Every state goes through JSON, as in the
    store."""

    def __init__(self, *actions: Any) -> None:
        self.state: ActiveflowState | None = None
        self.effects: tuple[Effect, ...] = ()
        if actions:
            self.tell(START)
            self.tell(flow_answer(*actions))

    def tell(self, message: Message, now: datetime = NOW) -> "Play":
        before = self.state
        decision = decide(before, message, now)
        self.effects = decision.effects
        if decision.state is not before:
            encoded = msgspec.json.encode(decision.state)
            self.state = msgspec.json.decode(encoded, type=ActiveflowState)
            assert self.state == decision.state
        return self

    @property
    def known(self) -> ActiveflowState:
        assert self.state is not None
        return self.state

    @property
    def resource(self) -> Activeflow:
        return to_resource(self.known)

    def only(self, kind: type[E]) -> E:
        (found,) = [effect for effect in self.effects if isinstance(effect, kind)]
        return found

    def none(self, kind: type[Any]) -> bool:
        return not any(isinstance(effect, kind) for effect in self.effects)

    @property
    def run(self) -> Run:
        body = self.only(Reply).body
        assert isinstance(body, Run)
        return body

    @property
    def error(self) -> PlatformError:
        return self.only(ReplyError).error


def kinds(run: Run) -> list[str]:
    return [action.type for action in run.actions]


# -- the table ---------------------------------------------------------------------------------

MESSAGES: tuple[type[Message], ...] = (
    ActiveflowStart,
    RunReport,
    ActiveflowReferenceEnded,
    ActiveflowStop,
    ActiveflowDelete,
    Answered,
    Failed,
    TimerFired,
)


def test_every_status_says_something_to_every_message() -> None:
    assert set(TRANSITIONS) == {None, *Status}
    for row in TRANSITIONS.values():
        assert set(row) == set(MESSAGES)


def test_nothing_leads_out_of_the_end() -> None:
    for entry in TRANSITIONS[Status.ENDED].values():
        if isinstance(entry, Transition):
            assert entry.to == (Status.ENDED,)


def test_only_requests_are_told_off() -> None:
    one_way = {ActiveflowReferenceEnded, Answered, Failed, TimerFired}
    for row in TRANSITIONS.values():
        for message, entry in row.items():
            assert not (message in one_way and isinstance(entry, Illegal))


# -- start -------------------------------------------------------------------------------------


def test_a_start_asks_for_the_flow() -> None:
    play = Play().tell(START)
    ask = play.only(Ask)
    assert (ask.key, ask.service) == ("flow", "flows")
    assert ask.body == FlowGet(id=FLOW_ID, customer_id=CUSTOMER)
    assert play.only(SetTimer) == SetTimer("reference", NOW + REFERENCE_CHECK)
    published = play.only(Publish)
    assert (published.resource, published.event) == ("activeflow", "created")
    assert play.known.status is Status.STARTING
    assert play.resource.status is ActiveflowStatus.RUNNING
    assert play.none(Reply)


def test_the_flow_answers_the_start_with_its_first_run() -> None:
    play = Play(act("answer"), digits(), act("branch"), act("hangup"))
    assert play.run.activeflow_id == ACTIVEFLOW_ID
    assert play.run.sequence == 1
    assert kinds(play.run) == ["answer", "digits_receive"]
    assert not play.run.final
    assert play.known.status is Status.RUNNING
    assert play.resource.current_action is not None
    assert play.resource.current_action.type == "answer"
    assert play.resource.current_action.tm_execute == NOW
    assert play.resource.executed_actions == []


def test_a_plain_flow_is_finishing_at_once() -> None:
    play = Play(act("answer"), say())
    assert play.run.final
    assert play.known.status is Status.FINISHING
    assert play.resource.status is ActiveflowStatus.RUNNING


def test_an_empty_flow_is_an_empty_final_run() -> None:
    play = Play().tell(START).tell(Answered(key="flow", body=flow_answer().body))
    assert play.run == Run(activeflow_id=ACTIVEFLOW_ID, sequence=1, actions=[], final=True)
    assert play.resource.current_action is None


def test_variables_of_the_beginning() -> None:
    variables = Play().tell(START).resource.variables
    assert variables == {
        "voipbin.activeflow.id": str(ACTIVEFLOW_ID),
        "voipbin.activeflow.flow_id": str(FLOW_ID),
        "voipbin.activeflow.reference_type": "call",
        "voipbin.activeflow.reference_id": str(CALL_ID),
        "voipbin.call.digits": "",
        "voipbin.call.id": str(CALL_ID),
        "lang": "en",
    }


def test_the_platforms_variables_come_before_the_customers() -> None:
    own = {f"k{number}": "v" for number in range(120)}
    given = {**own, "voipbin.call.id": "x", "voipbin.activeflow.id": "forged"}
    play = Play().tell(msgspec.structs.replace(START, variables=given))
    variables = play.resource.variables
    assert variables["voipbin.call.id"] == "x"
    assert variables["voipbin.activeflow.id"] == str(ACTIVEFLOW_ID)
    assert len(variables) == 100
    assert play.resource.faults[-1].message.startswith("variable k119 was left out: ")
    assert len(play.resource.faults) == 20


def test_a_repeated_start_asks_again_until_the_flow_is_there() -> None:
    play = Play().tell(START)
    before = play.state
    play.tell(START)
    assert play.only(Ask).key == "flow"
    assert play.state is before


@pytest.mark.parametrize("actions", [[digits(), act("branch")], [say()]])
def test_a_repeated_start_answers_with_the_run_that_is_out(actions: list[Any]) -> None:
    play = Play(*actions)
    first, before = play.run, play.state
    assert play.tell(START, LATER).run == first
    assert play.state is before


def test_a_start_for_something_else_is_refused() -> None:
    play = Play().tell(msgspec.structs.replace(START, reference_type="api"))
    assert play.state is None
    assert play.error.code == "invalid_argument"
    assert len(play.effects) == 1


def test_a_flow_that_is_not_there_ends_it() -> None:
    play = Play().tell(START).tell(failure("flow", "flow_not_found"), LATER)
    assert play.error.code == "flow_not_found"
    assert play.error.http_status == 404
    assert play.resource.end_reason is EndReason.FLOW_UNAVAILABLE
    assert play.resource.status is ActiveflowStatus.ENDED
    assert play.resource.faults[0].message == "the flow could not be read: flow_not_found"
    assert play.only(Publish).event == "ended"


def test_a_start_that_can_be_tried_again_waits_for_that() -> None:
    play = Play().tell(START)
    before = play.state
    away = ErrorData(
        code="store_unavailable", message="away", details={"http_status": 503}, retryable=True
    )
    play.tell(Failed(key="flow", error=away))
    assert play.error.retryable
    assert play.state is before
    assert play.tell(START).only(Ask).key == "flow"


def test_late_answers_change_nothing() -> None:
    play = Play(digits(), act("branch"))
    before = play.state
    for late in (flow_answer(say()), failure("flow", "flow_not_found"), failure("x", "y")):
        play.tell(late)
        assert play.state is before
        assert play.effects == ()


# -- reports -----------------------------------------------------------------------------------


def menu() -> Play:
    return Play(
        act("answer"),
        digits(1),
        act("branch", target_ids={"1": name(2)}, default_target_id=name(1)),
        say("one", 2),
        digits(),
        say("You pressed ${voipbin.call.digits}"),
    )


def test_a_report_brings_the_next_run() -> None:
    play = menu().tell(report(1, "1"), LATER)
    assert play.run.sequence == 2
    assert kinds(play.run) == ["talk", "digits_receive"]
    assert [action.type for action in play.resource.executed_actions] == [
        "answer",
        "digits_receive",
    ]
    assert {action.tm_execute for action in play.resource.executed_actions} == {NOW}
    play.tell(report(2, "7"), LATER)
    assert play.run.final
    assert play.run.actions[0].option["text"] == "You pressed 7"
    assert [action.type for action in play.resource.executed_actions] == [
        "answer", "digits_receive", "branch", "talk", "digits_receive",
    ]  # fmt: skip


def test_nothing_pressed_is_an_empty_text() -> None:
    play = menu().tell(report(1, "2")).tell(report(2, ""))
    assert kinds(play.run) == ["digits_receive"]
    assert play.resource.variables[DIGITS] == ""


def test_a_report_without_digits_leaves_them() -> None:
    play = Play(digits(), *[say()] * 120).tell(report(1, "5")).tell(report(2))
    assert play.run.sequence == 3
    assert play.resource.variables[DIGITS] == "5"


def test_a_repeated_report_brings_the_same_run() -> None:
    play = menu().tell(report(1, "1"))
    first, before = play.run, play.state
    assert play.tell(report(1, "1"), LATER).run == first
    assert play.tell(report(1, "9"), LATER).run == first
    assert play.state is before
    play.tell(report(2, "7"))
    final, before = play.run, play.state
    assert final.final
    assert play.tell(report(2, "7"), LATER).run == final
    assert play.state is before


@pytest.mark.parametrize("sequence", [-1, 1, 3, 4])
def test_a_report_of_another_run_is_refused(sequence: int) -> None:
    play = menu().tell(report(1, "2")).tell(report(2, "2"))
    before = play.state
    play.tell(report(1 if sequence == 1 else sequence + 1))
    assert play.error.code == "activeflow_state_invalid"
    assert play.error.details == {"sequence": 3, "final": False}
    assert play.state is before


def test_a_final_run_is_not_reported_on() -> None:
    play = Play(say())
    play.tell(report(1))
    assert play.error.code == "activeflow_state_invalid"
    assert play.error.details["final"] is True


@pytest.mark.parametrize(
    ("play", "code"),
    [
        (Play(), "activeflow_not_found"),
        (Play().tell(START), "activeflow_state_invalid"),
        (Play(say()).tell(STOP), "activeflow_already_stopped"),
    ],
)
def test_reports_that_come_at_the_wrong_time(play: Play, code: str) -> None:
    assert play.tell(report(0)).error.code == code


def test_executed_actions_are_bounded() -> None:
    play = Play(digits(1), act("branch", default_target_id=name(1)))
    for sequence in range(1, 80):
        play.tell(report(sequence, "1"))
    assert len(play.resource.executed_actions) == MAX_EXECUTED_ACTIONS
    assert play.resource.executed_actions[-1].type == "digits_receive"


# -- the end -----------------------------------------------------------------------------------


def test_a_call_that_worked_the_final_run_off_completes_the_flow() -> None:
    play = Play(act("answer"), say(), act("variable_set", key="done", value="yes"))
    play.tell(ended(1, 2), LATER)
    resource = play.resource
    assert resource.status is ActiveflowStatus.ENDED
    assert resource.end_reason is EndReason.COMPLETED
    assert [action.type for action in resource.executed_actions] == [
        "answer",
        "talk",
        "variable_set",
    ]
    assert resource.variables["done"] == "yes"
    assert resource.current_action is None
    assert resource.tm_update == LATER
    assert play.only(Publish).body == resource
    assert play.only(CancelTimer) == CancelTimer("reference")
    assert {effect.key for effect in play.effects if isinstance(effect, Settle)} == {
        "flow",
        "reference",
    }
    assert play.none(Tell)


def test_a_caller_who_hangs_up_early_leaves_the_rest_undone() -> None:
    play = Play(
        act("variable_set", key="a", value="1"),
        say(),
        act("variable_set", key="a", value="2"),
        say(),
        act("variable_set", key="a", value="3"),
    )
    assert play.resource.variables["a"] == "3"
    play.tell(ended(1, 1), LATER)
    assert play.resource.end_reason is EndReason.REFERENCE_ENDED
    assert [action.type for action in play.resource.executed_actions] == ["variable_set", "talk"]
    assert play.resource.variables["a"] == "1"
    assert play.known.steps == []


def test_a_call_that_ends_in_the_last_action_of_a_run_that_goes_on() -> None:
    play = Play(digits(), act("variable_set", key="a", value="1"), act("branch"))
    play.tell(ended(1, 1))
    assert play.resource.end_reason is EndReason.REFERENCE_ENDED
    assert [action.type for action in play.resource.executed_actions] == ["digits_receive"]
    assert "a" not in play.resource.variables


@pytest.mark.parametrize("sequence", [0, 1])
def test_a_call_that_ended_before_it_heard_of_the_run(sequence: int) -> None:
    play = menu().tell(report(1, "1"))
    play.tell(ended(sequence, 2))
    assert [action.type for action in play.resource.executed_actions] == [
        "answer", "digits_receive", "branch",
    ]  # fmt: skip
    assert play.resource.end_reason is EndReason.REFERENCE_ENDED


def test_an_older_sequence_does_not_complete_an_empty_final_run() -> None:
    play = Play(digits(), act("branch")).tell(report(1, "1"))
    assert play.run.final
    assert play.run.actions == []
    play.tell(ended(1, 1))
    assert play.resource.end_reason is EndReason.REFERENCE_ENDED


def test_an_empty_final_run_completes() -> None:
    play = Play(digits(), act("branch")).tell(report(1, "1")).tell(ended(2, 0))
    assert play.resource.end_reason is EndReason.COMPLETED


def test_a_call_that_ends_before_the_flow_was_there() -> None:
    play = Play().tell(START).tell(ended(0, 0))
    assert play.resource.end_reason is EndReason.REFERENCE_ENDED
    before = play.state
    play.tell(flow_answer(say()))
    assert play.state is before
    assert play.effects == ()


def test_a_limit_is_told() -> None:
    play = Play(say(number=1), act("goto", target_id=name(1)))
    sequence = 1
    while not play.run.final:
        play.tell(report(sequence))
        sequence += 1
    play.tell(ended(sequence, len(play.known.run)))
    assert play.resource.end_reason is EndReason.LIMIT


def test_faults_of_actions_are_told() -> None:
    play = Play(act("play", 1, stream_urls=["${lang}"]), say()).tell(ended(1, 1))
    (fault,) = play.resource.faults
    assert fault.action_id == name(1)
    assert "stream_urls" in fault.message


@pytest.mark.parametrize("message", [ended(1, 1), STOP])
def test_the_end_is_published_once(message: Message) -> None:
    play = Play(say()).tell(ended(1, 1))
    before = play.state
    play.tell(message, LATER)
    assert play.none(Publish)
    assert play.state is before


# -- stop and delete -----------------------------------------------------------------------------


@pytest.mark.parametrize("play", [Play().tell(START), Play(digits(), act("branch")), Play(say())])
def test_a_stop_ends_the_call(play: Play) -> None:
    play.tell(STOP, LATER)
    assert play.only(Reply).body == play.resource
    assert play.resource.end_reason is EndReason.STOPPED
    assert play.only(Tell) == Tell(
        "call_manager", CALL_ID, CallFlowStopped(id=CALL_ID, activeflow_id=ACTIVEFLOW_ID)
    )
    assert play.only(Publish).event == "ended"
    before = play.state
    assert play.tell(STOP).only(Reply).body == play.resource
    assert play.state is before
    assert len(play.effects) == 1


def test_after_a_stop_the_call_tells_how_far_it_came() -> None:
    play = Play(act("answer"), say(), say()).tell(STOP).tell(ended(1, 2), LATER)
    assert [action.type for action in play.resource.executed_actions] == ["answer", "talk"]
    assert play.resource.end_reason is EndReason.STOPPED
    assert play.effects == ()
    before = play.state
    assert play.tell(ended(1, 2)).state is before


@pytest.mark.parametrize("message", [STOP, DELETE])
@pytest.mark.parametrize("play", [Play().tell(START), Play(say()), Play(say()).tell(STOP)])
def test_a_stranger_finds_nothing(play: Play, message: Message) -> None:
    before = play.state
    play.tell(msgspec.structs.replace(message, customer_id=STRANGER))
    assert play.error.code == "activeflow_not_found"
    assert play.state is before


@pytest.mark.parametrize("message", [STOP, DELETE])
def test_there_is_nothing_to_stop(message: Message) -> None:
    play = Play().tell(message)
    assert play.error.code == "activeflow_not_found"
    assert play.state is None


def test_a_delete_stops_first() -> None:
    play = Play(digits(), act("branch")).tell(DELETE, LATER)
    assert play.resource.tm_delete == LATER
    assert play.resource.end_reason is EndReason.STOPPED
    assert play.only(Tell).actor == CALL_ID
    assert [effect.event for effect in play.effects if isinstance(effect, Publish)] == [
        "ended",
        "deleted",
    ]
    assert play.only(Reply).body == play.resource
    assert ACTIVEFLOW.index(play.known).hidden
    play.tell(DELETE)
    assert play.only(Reply).body == play.resource
    assert len(play.effects) == 1


def test_a_delete_of_what_has_ended_only_hides() -> None:
    play = Play(say()).tell(ended(1, 1)).tell(DELETE, LATER)
    assert play.none(Tell)
    assert play.only(Publish).event == "deleted"
    assert play.resource.end_reason is EndReason.COMPLETED


def test_what_has_ended_does_not_start_again() -> None:
    assert Play(say()).tell(STOP).tell(START).error.code == "activeflow_already_stopped"


# -- a call whose end was never told ---------------------------------------------------------------


@pytest.mark.parametrize("play", [Play().tell(START), Play(digits(), act("branch")), Play(say())])
def test_the_call_is_looked_after(play: Play) -> None:
    ask = play.tell(TimerFired(name="reference"), LATER).only(Ask)
    assert (ask.key, ask.service, ask.actor) == ("reference", "call_manager", None)
    assert ask.body == CallGet(id=CALL_ID, customer_id=CUSTOMER)
    before = play.state
    for answer in (call_answer(CallStatus.PROGRESSING), failure("reference", "store_unavailable")):
        play.tell(answer, LATER)
        assert play.effects == (SetTimer("reference", LATER + REFERENCE_CHECK),)
        assert play.state is before


@pytest.mark.parametrize(
    "answer", [call_answer(CallStatus.HANGUP), failure("reference", "call_not_found")]
)
@pytest.mark.parametrize("actions", [[], [digits(), act("branch")], [say()]])
def test_a_call_that_is_over_ends_it(answer: Message, actions: list[Any]) -> None:
    play = Play(*actions)
    if not actions:
        play.tell(START)
    play.tell(answer, LATER)
    assert play.resource.end_reason is EndReason.REFERENCE_ENDED
    assert play.only(Publish).event == "ended"


def test_the_columns_of_the_store() -> None:
    play = Play(say())
    index = ACTIVEFLOW.index(play.known)
    assert (index.customer_id, index.created_at, index.live, index.hidden) == (
        CUSTOMER, NOW, True, False,
    )  # fmt: skip
    assert not ACTIVEFLOW.index(play.tell(STOP).known).live
