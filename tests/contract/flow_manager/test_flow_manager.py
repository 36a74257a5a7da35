"""Flows and activeflows over the real broker and database."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from evercall.contracts.base import ResourceEvent
from evercall.contracts.flow import (
    Activeflow,
    ActiveflowDelete,
    ActiveflowGet,
    ActiveflowList,
    ActiveflowReferenceEnded,
    ActiveflowStart,
    ActiveflowStatus,
    ActiveflowStop,
    EndReason,
    Flow,
    FlowCreate,
    FlowDelete,
    FlowGet,
    FlowList,
    FlowUpdate,
    Run,
    RunReport,
)
from evercall.service.errors import Conflict, InvalidRequest, NotFound
from evercall.service.identity import new_id
from tests.contract.flow_manager.conftest import Service
from tests.support.eventually import eventually

MENU: list[Any] = [
    {"type": "answer"},
    {"type": "digits_receive", "option": {"duration": 5000}},
    {"type": "talk", "option": {"text": "You pressed ${voipbin.call.digits}, ${who} ☎"}},
    {"type": "digits_receive", "option": {"duration": 5000}},
    {"type": "variable_set", "option": {"key": "pin", "value": "${voipbin.call.digits}"}},
    {"type": "hangup"},
]


async def make_flow(service: Service, customer: UUID, actions: list[Any], **more: Any) -> Flow:
    return await service.ask(
        FlowCreate(id=new_id(), customer_id=customer, name="menu", actions=actions, **more)
    )


def start_of(flow: Flow, **variables: str) -> ActiveflowStart:
    call = new_id()
    return ActiveflowStart(
        id=new_id(near=call),
        customer_id=flow.customer_id,
        flow_id=flow.id,
        reference_type="call",
        reference_id=call,
        variables=variables,
    )


async def read(service: Service, start: ActiveflowStart) -> Activeflow:
    return await service.ask(ActiveflowGet(id=start.id, customer_id=start.customer_id))


async def until_ended(service: Service, start: ActiveflowStart) -> Activeflow:
    async def ended() -> Activeflow | None:
        found = await read(service, start)
        return found if found.status is ActiveflowStatus.ENDED else None

    found = await eventually(ended, within=20.0)
    assert found is not None
    return found


def kinds(run: Run) -> list[str]:
    return [action.type for action in run.actions]


async def test_flows_are_kept_as_they_were_written(service: Service) -> None:
    customer = new_id()
    created = await make_flow(service, customer, MENU)
    assert [action.option for action in created.actions] == [
        action.get("option", {}) for action in MENU
    ]
    get = FlowGet(id=created.id, customer_id=customer)
    assert await service.ask(get) == created
    again = FlowCreate(id=created.id, customer_id=customer, name="other", actions=[])
    assert await service.ask(again) == created
    with pytest.raises(Conflict, match="flow_already_exists"):
        await service.ask(FlowCreate(id=created.id, customer_id=new_id(), actions=[]))
    updated = await service.ask(
        FlowUpdate(
            id=created.id,
            customer_id=customer,
            name="new",
            detail="☎",
            actions=[{"type": "hangup"}],
        )
    )
    assert (updated.name, updated.detail, len(updated.actions)) == ("new", "☎", 1)
    assert updated.tm_create == created.tm_create
    assert await service.ask(get) == updated
    with pytest.raises(NotFound):
        await service.ask(FlowGet(id=created.id, customer_id=new_id()))
    with pytest.raises(NotFound):
        await service.ask(FlowDelete(id=created.id, customer_id=new_id()))
    deleted = await service.ask(FlowDelete(id=created.id, customer_id=customer))
    assert deleted.tm_delete is not None
    for gone in (get, FlowDelete(id=created.id, customer_id=customer)):
        with pytest.raises(NotFound, match="flow_not_found"):
            await service.ask(gone)


async def test_faults_cross_the_bus(service: Service) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await make_flow(service, new_id(), [{"type": "sing"}, {"type": "sleep"}])
    faults = caught.value.details["faults"]
    assert [fault["path"] for fault in faults] == ["actions[0].type", "actions[1].option.duration"]


async def test_lists_neither_skip_nor_repeat_nor_show_the_hidden(service: Service) -> None:
    customer = new_id()
    made = [(await make_flow(service, customer, [])).id for _ in range(7)]
    await make_flow(service, customer, [], hidden=True)
    seen: list[UUID] = []
    token, pages = "", 0
    while pages == 0 or token:
        page = await service.ask(FlowList(customer_id=customer, page_size=3, page_token=token))
        seen += [flow.id for flow in page.result]
        token, pages = page.next_page_token, pages + 1
    assert seen == made[::-1]
    assert pages == 3
    with pytest.raises(InvalidRequest):
        await service.ask(FlowList(customer_id=customer, page_size=3, page_token="x"))


async def test_a_page_of_long_flows_is_shorter(service: Service) -> None:
    customer = new_id()
    long = [{"type": "talk", "option": {"text": "x" * 32_000}}] * 8
    for _ in range(20):
        await make_flow(service, customer, long)
    first = await service.ask(FlowList(customer_id=customer, page_size=50))
    assert 10 <= len(first.result) < 20
    rest = await service.ask(
        FlowList(customer_id=customer, page_size=50, page_token=first.next_page_token)
    )
    assert len(first.result) + len(rest.result) == 20
    assert rest.next_page_token == ""


async def test_an_activeflow_from_start_to_end(service: Service) -> None:
    events: list[str] = []

    async def hear(event: ResourceEvent) -> None:
        events.append(event.type)

    customer = new_id()
    await service.bus.subscribe_events([f"{customer}.activeflow.*"], hear)
    flow = await make_flow(service, customer, MENU)
    start = start_of(flow, who="Ada")
    first = await service.ask(start, start.id)
    assert (first.sequence, first.final, kinds(first)) == (1, False, ["answer", "digits_receive"])
    assert await service.ask(start, start.id) == first
    report = RunReport(activeflow_id=start.id, sequence=1, digits="7")
    second = await service.ask(report, start.id)
    assert second.actions[0].option["text"] == "You pressed 7, Ada ☎"
    assert await service.ask(report, start.id) == second
    last = await service.ask(RunReport(activeflow_id=start.id, sequence=2, digits="42"), start.id)
    assert last.final
    assert kinds(last) == ["hangup"]
    over = ActiveflowReferenceEnded(activeflow_id=start.id, sequence=3, executed=1)
    await service.bus.tell("flow_manager", start.id, over)
    found = await until_ended(service, start)
    assert found.end_reason is EndReason.COMPLETED
    assert found.variables["pin"] == "42"
    assert len(found.executed_actions) == 6
    with pytest.raises(Conflict, match="activeflow_already_stopped"):
        await service.ask(RunReport(activeflow_id=start.id, sequence=3), start.id)
    async with asyncio.timeout(10.0):
        while len(events) < 2:
            await asyncio.sleep(0.02)
    assert events == ["activeflow_created", "activeflow_ended"]


async def test_stop_delete_and_list(service: Service) -> None:
    customer = new_id()
    flow = await make_flow(service, customer, MENU)
    starts = [start_of(flow) for _ in range(3)]
    for start in starts:
        await service.ask(start, start.id)
    page = await service.ask(ActiveflowList(customer_id=customer, page_size=2))
    assert [found.id for found in page.result] == [starts[2].id, starts[1].id]
    stop = ActiveflowStop(id=starts[0].id, customer_id=customer)
    for _ in range(2):
        assert (await service.ask(stop, stop.id)).end_reason is EndReason.STOPPED
    with pytest.raises(NotFound):
        await service.ask(ActiveflowStop(id=starts[1].id, customer_id=new_id()), starts[1].id)
    delete = ActiveflowDelete(id=starts[1].id, customer_id=customer)
    for _ in range(2):
        assert (await service.ask(delete, delete.id)).tm_delete is not None
    with pytest.raises(NotFound):
        await read(service, starts[1])
    with pytest.raises(NotFound):
        await service.ask(ActiveflowGet(id=starts[0].id, customer_id=new_id()))
    page = await service.ask(ActiveflowList(customer_id=customer, page_size=5))
    assert [found.id for found in page.result] == [starts[2].id, starts[0].id]
    await service.ask(ActiveflowStop(id=starts[2].id, customer_id=customer), starts[2].id)


async def test_a_flow_that_is_gone_or_somebody_elses(service: Service) -> None:
    flow = await make_flow(service, new_id(), MENU)
    theirs = start_of(flow)
    mine = ActiveflowStart(
        id=theirs.id,
        customer_id=new_id(),
        flow_id=flow.id,
        reference_type="call",
        reference_id=theirs.reference_id,
    )
    with pytest.raises(NotFound, match="flow_not_found"):
        await service.ask(mine, mine.id)
    assert (await read(service, mine)).end_reason is EndReason.FLOW_UNAVAILABLE


async def test_a_changed_flow_is_used_at_once(service: Service) -> None:
    """By the replica that changed it; by others when they have heard of it, far below the minute
    that they would remember it for. Once it is used everywhere, it stays so."""
    await service.start()
    customer = new_id()
    flow = await make_flow(service, customer, [{"type": "answer"}])

    async def first_actions() -> set[str]:
        """Of 16 activeflows, which are spread over the replicas."""
        found: set[str] = set()
        for _ in range(16):
            start = start_of(flow)
            found.update(kinds(await service.ask(start, start.id)))
            await service.ask(ActiveflowStop(id=start.id, customer_id=customer), start.id)
        return found

    async def only_the_new() -> bool:
        return await first_actions() == {"hangup"}

    assert await first_actions() == {"answer"}
    await service.ask(
        FlowUpdate(
            id=flow.id, customer_id=customer, name="", detail="", actions=[{"type": "hangup"}]
        )
    )
    await eventually(only_the_new, within=10.0)
    assert await only_the_new()


async def test_activeflows_outlive_the_process_that_ran_them(service: Service) -> None:
    """kill -9 of one of two replicas, three times, while callers type. Every digit counts once.

    The replica that stays loses shards to the others and gets them back: what it remembers of them from
    before must not be what it answers with.
    """
    await service.start()
    loop, end = new_id(), new_id()
    collect = {"key": "all", "value": "${all}${voipbin.call.digits}"}
    choose = {"target_ids": {"#": str(end)}, "default_target_id": str(loop)}
    flow = await make_flow(
        service,
        new_id(),
        [
            {"id": str(loop), "type": "digits_receive", "option": {"duration": 5000}},
            {"type": "variable_set", "option": collect},
            {"type": "branch", "option": choose},
            {"id": str(end), "type": "hangup"},
        ],
    )
    over = asyncio.Event()

    async def call(start: ActiveflowStart) -> str:
        typed = ""
        run = await service.ask(start, start.id)
        while not run.final:
            digit = "#" if over.is_set() else str(run.sequence % 10)
            report = RunReport(activeflow_id=start.id, sequence=run.sequence, digits=digit)
            following = await service.ask(report, start.id)
            assert following.sequence == run.sequence + 1
            run, typed = following, typed + digit
            await asyncio.sleep(0.1)
        ended = ActiveflowReferenceEnded(activeflow_id=start.id, sequence=run.sequence, executed=1)
        await service.bus.tell("flow_manager", start.id, ended)
        return typed

    starts = [start_of(flow) for _ in range(24)]
    calls = [asyncio.create_task(call(start)) for start in starts]
    for victim in range(1, 4):
        await asyncio.sleep(0.3)
        service.replicas[victim].kill()
        await service.start()
    over.set()
    for start, typed in zip(starts, await asyncio.gather(*calls), strict=True):
        found = await until_ended(service, start)
        assert found.variables["all"] == typed
        assert found.end_reason is EndReason.COMPLETED
        assert len(found.executed_actions) == min(100, 3 * len(typed) + 1)


async def test_a_page_of_long_activeflows_is_cut_and_misses_none(service: Service) -> None:
    """A hundred of them exceeded what the broker takes as one message."""
    customer = new_id()
    text = {"type": "talk", "option": {"text": "x" * 30_000}}
    flow = await make_flow(service, customer, [{"type": "answer"}, *[text] * 8])
    begun = [start_of(flow, a="y" * 30_000, b="z" * 30_000) for _ in range(25)]
    for start in begun:
        await service.ask(start, actor=start.id)
    found: list[UUID] = []
    token, pages = "", 0
    while True:
        listed = await service.ask(
            ActiveflowList(customer_id=customer, page_size=100, page_token=token)
        )
        assert listed.result
        found += [each.id for each in listed.result]
        token, pages = listed.next_page_token, pages + 1
        if not token:
            break
    assert sorted(found) == sorted(start.id for start in begun)
    assert len(set(found)) == len(found)
    assert pages > 1
