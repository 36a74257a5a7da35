"""The pure half of the engine, driven with a small domain: an account that counts."""

from collections.abc import Callable, Iterable
from dataclasses import replace as replaced
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from evercall.actor import model, store
from evercall.actor import turn as turn_module
from evercall.actor.model import Actor, ActorKind, Answered, Decision, Failed, Index, TimerFired
from evercall.actor.turn import (
    ATTEMPTS,
    COMMAND_RETRY,
    Delivery,
    Due,
    LiveActors,
    PortAnswer,
    RawAnswer,
    Retry,
    Turn,
    Work,
    World,
)
from evercall.bus import topology
from evercall.bus.envelope import Incoming, Origin, encode
from evercall.contracts.asterisk import AriCommand
from evercall.contracts.base import Empty, ErrorData, Message, Request, ResourceEvent
from evercall.contracts.ids import derived_id, make_id
from evercall.service.errors import Conflict, PlatformError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = make_id(1, bytes(10))
OTHER_SHARD = make_id(1, bytes(9) + b"\x01")
ORIGIN = Origin("amq.somewhere", "c1")


class Count(msgspec.Struct, frozen=True):
    value: int


class Named(msgspec.Struct, frozen=True):
    id: UUID


class Account(msgspec.Struct, frozen=True):
    total: int = 0
    heard: tuple[str, ...] = ()


class Do(Message, frozen=True):
    """Makes the account return these effects."""

    name: str


class Lookup(Request[Count], frozen=True):
    number: int


EFFECTS: dict[str, tuple[model.Effect, ...]] = {}


def decide(state: Account | None, message: Message, now: datetime) -> Decision[Account]:
    del now
    before = state or Account()
    match message:
        case Do("nothing"):
            return Decision(state)
        case Do("break"):
            raise RuntimeError("a fault of ours")
        case Do("refuse"):
            raise Conflict("state_invalid", "Not now")
        case Do(name):
            state = msgspec.structs.replace(before, heard=(*before.heard, name))
            return Decision(state, EFFECTS.get(name, ()))
        case Answered(key=key, body=Count(value)):
            heard = (*before.heard, f"answered {key}")
            return Decision(Account(before.total + value, heard), EFFECTS.get("answered", ()))
        case Failed(key=key, error=error):
            return Decision(
                msgspec.structs.replace(before, heard=(*before.heard, f"{key}: {error.code}"))
            )
        case TimerFired(name=name):
            return Decision(msgspec.structs.replace(before, heard=(*before.heard, f"timer {name}")))
    raise AssertionError(message)


KIND = ActorKind("account", Account, decide, lambda _: Index(ID, NOW, live=True))


class Cache:
    """A port that knows numbers below ten."""

    def known(self, request: Lookup) -> msgspec.Struct | PlatformError | None:
        if request.number < 0:
            return Conflict("negative", "No such number")
        return Count(request.number) if request.number < 10 else None

    async def answer(self, request: Lookup) -> msgspec.Struct:
        return Count(request.number)


def receive(message: Message, live: LiveActors) -> Iterable[Delivery]:
    del live
    return [Delivery("account", ID, message)]


WORLD = World(
    service="bank",
    kinds={"account": KIND},
    receive=receive,
    ports={"cache": Cache()},
    shards=8,
    new_id=lambda near: derived_id(near, "fresh"),
)


@pytest.fixture
def actor() -> Actor[Any]:
    return Actor(ID, KIND, None)


Run = Callable[..., Turn]


@pytest.fixture
def run(actor: Actor[Any]) -> Run:
    def run(*bodies: Any, origin: Origin | None = None, now: datetime = NOW) -> Turn:
        turn = Turn(WORLD, now, {ID: actor})
        turn.run([Work("account", ID, body, origin) for body in bodies])
        return turn

    return run


@pytest.fixture(autouse=True)
def _effects() -> Iterable[None]:
    EFFECTS.clear()
    yield
    EFFECTS.clear()


def command(key: str) -> model.Command:
    return model.Command(
        "call-1", "boot", AriCommand(actor=ID, key=key, method="POST", uri=f"/{key}")
    )


def test_a_message_makes_an_actor_and_marks_it_changed(actor: Actor[Any], run: Run) -> None:
    turn = run(Do("a"), Do("b"))
    assert actor.state == Account(heard=("a", "b"))
    assert list(turn.changed) == [ID]


def test_a_message_that_changes_nothing_writes_nothing(run: Run) -> None:
    turn = run(Do("nothing"))
    assert not turn.changed
    assert not turn.outgoing.outbox


def test_commands_are_grouped_by_asterisk_and_kept_until_they_are_settled(
    actor: Actor[Any], run: Run
) -> None:
    EFFECTS["go"] = (command("answer"), command("play"))
    EFFECTS["done"] = (model.Settle("answer"), model.Settle("unknown"))
    turn = run(Do("go"))
    assert [one.key for one in turn.outgoing.commands["call-1", "boot"]] == ["answer", "play"]
    run(Do("done"))
    assert list(actor.pending) == ["play"]


def test_what_waits_is_sent_again_by_the_next_owner(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (command("answer"), model.Ask("flow", "flow_manager", Lookup(1), ID))
    run(Do("go"))
    turn = Turn(WORLD, NOW, {ID: actor})
    turn.resend(actor)
    assert [one.key for one in turn.outgoing.commands["call-1", "boot"]] == ["answer"]
    assert [ask[:3] for ask in turn.outgoing.asks] == [("account", ID, "flow")]


def test_resend_is_an_effect_too(run: Run) -> None:
    EFFECTS["go"] = (command("answer"),)
    EFFECTS["again"] = (model.Resend(),)
    run(Do("go"))
    assert [one.key for one in run(Do("again")).outgoing.commands["call-1", "boot"]] == ["answer"]


def test_an_answer_is_heard_once_and_ends_the_wait(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (model.Ask("flow", "flow_manager", Lookup(1), ID),)
    run(Do("go"))
    answer = RawAnswer("flow", encode(Count(5)), error=False)
    run(answer, answer)
    assert actor.state == Account(5, ("go", "answered flow"))
    assert not actor.pending


def test_an_error_is_heard_as_failed(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (model.Ask("flow", "flow_manager", Lookup(1), ID),)
    run(Do("go"))
    run(RawAnswer("flow", encode(ErrorData(code="flow_not_found", message="-")), error=True))
    assert actor.state == Account(heard=("go", "flow: flow_not_found"))


def test_asking_again_under_the_same_key_keeps_the_new_question(
    actor: Actor[Any], run: Run
) -> None:
    EFFECTS["go"] = (model.Ask("flow", "flow_manager", Lookup(1), ID),)
    EFFECTS["answered"] = (model.Ask("flow", "flow_manager", Lookup(2), ID),)
    run(Do("go"))
    turn = run(RawAnswer("flow", encode(Count(5)), error=False))
    assert bytes(actor.pending["flow"].body) == encode(Lookup(2))  # type: ignore[union-attr]
    assert len(turn.outgoing.asks) == 1


def test_a_reply_while_deciding_on_an_answer_goes_to_who_led_to_the_question(run: Run) -> None:
    EFFECTS["go"] = (model.Ask("flow", "flow_manager", Lookup(1), ID),)
    EFFECTS["answered"] = (model.Reply(Empty()),)
    run(Do("go"), origin=ORIGIN)
    turn = run(RawAnswer("flow", encode(Count(5)), error=False))
    assert turn.outgoing.replies == [(ORIGIN, encode(Empty()), False)]


def test_an_answer_may_come_later_and_goes_to_who_asked_last(actor: Actor[Any], run: Run) -> None:
    later = Origin("amq.rabbitmq.reply-to.x", "later")
    EFFECTS["wait"] = (model.Defer("waiter"),)
    EFFECTS["ready"] = (model.Reply(Empty(), key="waiter"),)
    assert run(Do("wait"), origin=ORIGIN).outgoing.replies == []
    run(Do("wait"), origin=later)
    resending = Turn(WORLD, NOW, {ID: actor})
    resending.resend(actor)
    assert not resending.outgoing.is_awaited
    assert run(Do("ready")).outgoing.replies == [(later, encode(Empty()), False)]
    assert not actor.pending
    assert run(Do("ready")).outgoing.replies == []


def test_a_deferred_answer_may_be_an_error(actor: Actor[Any], run: Run) -> None:
    EFFECTS["wait"] = (model.Defer("waiter"),)
    EFFECTS["failed"] = (model.ReplyError(Conflict("gone", "-"), key="waiter"),)
    run(Do("wait"), origin=ORIGIN)
    [(origin, _, is_error)] = run(Do("failed"), origin=None).outgoing.replies
    assert (origin, is_error) == (ORIGIN, True)
    assert not actor.pending


def test_a_word_to_one_process_is_not_kept(actor: Actor[Any], run: Run) -> None:
    EFFECTS["tell"] = (model.Notify("media_manager.m1", Do("key")),)
    turn = run(Do("tell"))
    assert turn.outgoing.notices == [("media_manager.m1", "do", encode(Do("key")))]
    assert not actor.pending


def test_a_port_that_knows_answers_in_the_same_turn(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (model.Ask("number", "cache", Lookup(3)),)
    EFFECTS["answered"] = (model.Reply(Empty()),)
    turn = run(Do("go"), Do("later"), origin=ORIGIN)
    assert actor.state == Account(3, ("go", "answered number", "later"))
    assert not turn.outgoing.asks
    assert turn.outgoing.replies == [(ORIGIN, encode(Empty()), False)]


def test_a_port_that_knows_of_an_error_says_so(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (model.Ask("number", "cache", Lookup(-1)),)
    run(Do("go"))
    assert actor.state == Account(heard=("go", "number: negative"))


def test_a_port_that_does_not_know_is_asked(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (model.Ask("number", "cache", Lookup(30)),)
    turn = run(Do("go"))
    assert [ask[2] for ask in turn.outgoing.asks] == ["number"]
    run(PortAnswer("number", Answered(key="number", body=Count(30))))
    assert actor.state == Account(30, ("go", "answered number"))
    assert not actor.pending


def test_a_timer_fires_once_and_not_after_it_was_moved(actor: Actor[Any], run: Run) -> None:
    later = NOW + timedelta(seconds=1)
    EFFECTS["go"] = (model.SetTimer("ring", NOW),)
    EFFECTS["move"] = (model.SetTimer("ring", later),)
    assert run(Do("go")).scheduled == [("account", ID, Due("ring", NOW))]
    run(Do("move"))
    run(Due("ring", NOW))
    assert actor.timers == {"ring": later}
    run(Due("ring", later), Due("ring", later))
    assert actor.state == Account(heard=("go", "move", "timer ring"))
    assert not actor.timers


def test_a_cancelled_timer_does_not_fire(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (model.SetTimer("ring", NOW), model.CancelTimer("ring"))
    run(Do("go"), Due("ring", NOW))
    assert actor.state == Account(heard=("go",))


def test_events_and_messages_to_others_go_through_the_outbox(run: Run) -> None:
    EFFECTS["go"] = (
        model.Publish("account", "opened", ID, Count(1)),
        model.Tell("flow_manager", OTHER_SHARD, Do("x")),
    )
    event, told = run(Do("go")).outgoing.outbox
    assert (event.exchange, event.routing_key) == (topology.EVENTS, f"{ID}.account.opened")
    assert (told.exchange, told.routing_key) == (topology.RPC, "flow_manager.shard.1")


def test_an_actor_of_the_same_shard_hears_at_once(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (model.Tell("bank", ID, Do("inner")),)
    turn = run(Do("go"), Do("next"))
    assert actor.state == Account(heard=("go", "inner", "next"))
    assert not turn.outgoing.outbox


def test_a_refusal_is_an_answer_and_changes_nothing(actor: Actor[Any], run: Run) -> None:
    turn = run(Do("refuse"), origin=ORIGIN)
    assert actor.state is None
    assert not turn.changed
    [(origin, body, error)] = turn.outgoing.replies
    assert (origin, error) == (ORIGIN, True)
    assert b"state_invalid" in body


def test_a_message_that_fails_three_times_is_buried_and_the_actor_goes_on(
    actor: Actor[Any], run: Run
) -> None:
    turn = run(Do("a"), Do("break"), Do("b"), origin=ORIGIN)
    assert actor.state == Account(heard=("a", "b"))
    [letter] = turn.dead
    assert letter.reason == "RuntimeError: a fault of ours"
    assert (letter.type, letter.actor, letter.shard) == ("do", ID, 0)
    assert msgspec.json.decode(letter.body, type=Do) == Do("break")
    [(_, body, error)] = turn.outgoing.replies
    assert error
    assert b"a fault of ours" not in body


def test_a_dead_letter_keeps_the_bytes_and_properties_that_came(actor: Actor[Any]) -> None:
    incoming = Incoming("do", b'{"spaces": 1}', "m1", ORIGIN, None, 7)
    turn = Turn(WORLD, NOW, {ID: actor})
    turn.run([Work("account", ID, Do("break"), ORIGIN, incoming=incoming)])
    [letter] = turn.dead
    assert letter.body == b'{"spaces": 1}'
    assert msgspec.json.decode(letter.properties) == {
        "type": "do",
        "message_id": "m1",
        "correlation_id": None,
        "reply_to": ORIGIN.reply_to,
    }


def test_a_message_counts_whole_or_not_at_all(actor: Actor[Any], run: Run) -> None:
    """The last of its effects can't be applied: those before it are taken back with the state."""
    EFFECTS["half"] = (
        command("answer"),
        model.SetTimer("ring", NOW),
        model.Publish("account", "opened", ID, Count(1)),
        model.Tell("bank", ID, Do("inner")),
        model.Reply(Empty()),
        model.Tell("flow\0manager", OTHER_SHARD, Do("x")),
    )
    turn = run(Do("a"), Do("half"), origin=ORIGIN)
    assert actor.state == Account(heard=("a",))
    assert (actor.pending, actor.timers, actor.retry_at) == ({}, {}, {})
    assert (turn.outgoing.commands, turn.outgoing.outbox, turn.scheduled) == ({}, [], [])
    [(_, _, error)] = turn.outgoing.replies
    assert error
    assert len(turn.dead) == 1


def test_a_state_that_cannot_be_encoded_is_its_messages_fault(
    actor: Actor[Any], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwritable(state: Account | None, message: Message, now: datetime) -> Decision[Account]:
        if message == Do("unwritable"):
            return Decision(Account(heard=(object(),)))  # type: ignore[arg-type]
        return decide(state, message, now)

    monkeypatch.setattr(actor, "kind", replaced(KIND, decide=unwritable))
    turn = run(Do("a"), Do("unwritable"), Do("b"))
    assert actor.state == Account(heard=("a", "b"))
    [letter] = turn.dead
    assert "TypeError" in letter.reason


def test_an_actor_that_has_grown_too_large_refuses_what_made_it_so(
    actor: Actor[Any], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LARGEST_RECORD", 200)
    turn = run(Do("a"), Do("b" * 300), Do("c"))
    assert actor.state == Account(heard=("a", "c"))
    assert [letter.reason[:8] for letter in turn.dead] == ["TooLarge"]


def test_a_message_too_large_for_the_broker_is_not_sent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_module, "LARGEST_BODY", 100)
    EFFECTS["go"] = (model.Tell("flow_manager", OTHER_SHARD, Do("x" * 200)),)
    turn = run(Do("go"))
    assert not turn.outgoing.outbox
    assert "TooLarge" in turn.dead[0].reason


def test_an_answer_that_cannot_be_handled_is_heard_as_failed(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (model.Ask("flow", "flow_manager", Lookup(1), ID),)
    run(Do("go"))
    turn = run(RawAnswer("flow", b'{"value": "a newer version says so"}', error=False))
    assert actor.state == Account(heard=("go", "flow: internal"))
    assert not actor.pending
    [letter] = turn.dead
    assert "ValidationError" in letter.reason


def test_an_answer_at_hand_that_cannot_be_handled_is_heard_as_failed(
    actor: Actor[Any], run: Run
) -> None:
    EFFECTS["go"] = (model.Ask("number", "cache", Lookup(3)),)
    EFFECTS["answered"] = (model.Tell("flow\0manager", OTHER_SHARD, Do("x")),)
    run(Do("go"))
    assert actor.state == Account(heard=("go", "number: internal"))


def test_an_actor_that_cannot_even_hear_of_the_failure_waits_no_more(
    actor: Actor[Any], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(state: Account | None, message: Message, now: datetime) -> Decision[Account]:
        if isinstance(message, Answered | Failed):
            raise RuntimeError("neither this nor that")
        return decide(state, message, now)

    EFFECTS["go"] = (model.Ask("flow", "flow_manager", Lookup(1), ID),)
    run(Do("go"))
    monkeypatch.setattr(actor, "kind", replaced(KIND, decide=broken))
    turn = run(RawAnswer("flow", encode(Count(1)), error=False))
    assert not actor.pending
    assert len(turn.dead) == 1
    assert list(turn.rows) == [ID]


def test_nothing_is_decided_for_an_actor_that_cannot_be_read() -> None:
    turn = Turn(WORLD, NOW, {})
    turn.unreadable.add(ID)
    turn.run([Work("account", ID, Do("a"), ORIGIN)])
    assert not turn.changed
    assert "UnreadableActor" in turn.dead[0].reason
    [(_, _, error)] = turn.outgoing.replies
    assert error


def retries(turn: Turn) -> list[Retry]:
    return [body for _, _, body in turn.scheduled if isinstance(body, Retry)]


def test_what_is_pending_is_sent_again_by_time_ever_more_seldom(
    actor: Actor[Any], run: Run
) -> None:
    EFFECTS["go"] = (command("answer"),)
    [retry] = retries(run(Do("go")))
    now, waits = NOW, []
    for _ in range(8):
        waits.append((retry.at - now).total_seconds())
        now = retry.at
        turn = run(retry, now=now)
        assert [one.key for one in turn.outgoing.commands["call-1", "boot"]] == ["answer"]
        assert not turn.changed
        [retry] = retries(turn)
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == COMMAND_RETRY[1].total_seconds()


def test_a_retry_that_was_overtaken_sends_nothing(actor: Actor[Any], run: Run) -> None:
    EFFECTS["go"] = (command("answer"), model.Ask("flow", "flow_manager", Lookup(1), ID))
    EFFECTS["again"] = (model.Resend(),)
    EFFECTS["done"] = (model.Settle("answer"),)
    first = retries(run(Do("go")))
    later = NOW + timedelta(seconds=1)
    second = retries(run(Do("again"), now=later))
    assert len(first) == len(second) == 2
    turn = run(*first, now=later)
    assert (turn.outgoing.commands, turn.outgoing.asks, turn.scheduled) == ({}, [], [])
    run(Do("done"), RawAnswer("flow", encode(Count(5)), error=False), now=later)
    assert not actor.retry_at
    turn = run(*second, now=later)
    assert (turn.outgoing.commands, turn.outgoing.asks) == ({}, [])


def test_a_port_is_not_asked_again_by_time(run: Run) -> None:
    EFFECTS["go"] = (model.Ask("number", "cache", Lookup(30)),)
    assert retries(run(Do("go"))) == []


def test_an_event_tells_the_id_of_what_it_is_about(run: Run) -> None:
    other = make_id(2, bytes(10))
    EFFECTS["go"] = (
        model.Publish("account", "opened", ID, Count(1)),
        model.Publish("stream", "opened", ID, Named(other)),
    )
    events = [
        msgspec.json.decode(row.body, type=ResourceEvent) for row in run(Do("go")).outgoing.outbox
    ]
    assert [event.resource_id for event in events] == [ID, other]


def test_a_failing_message_is_tried_three_times(actor: Actor[Any]) -> None:
    turn = Turn(WORLD, NOW, {ID: actor})
    work = Work("account", ID, Do("break"))
    turn.run([work])
    assert work.attempts == ATTEMPTS


def test_an_actor_that_is_not_in_memory_waits_to_be_loaded() -> None:
    turn = Turn(WORLD, NOW, {})
    work = Work("account", ID, Do("a"))
    turn.run([work])
    assert turn.unloaded == [work]
