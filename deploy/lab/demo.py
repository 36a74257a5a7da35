"""`make demo`: one real call, placed and listened to by a softphone that is not ours.

It makes a customer, an access key, a flow and a number through the public API, has baresip call the
number through the SIP load balancer, recognises in what baresip heard the words that the flow speaks,
presses keys, checks that the flow says them back, and tells the call's story. The last line is
`demo: ok …` or `demo: failed …`, the exit status 0 or 1.

What it made stays, in `.lab/demo.json`; `--export` prints it as shell variables.
"""

import argparse
import asyncio
import json
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from deploy.lab.credentials import write_private
from deploy.lab.errors import LabError
from deploy.lab.lab import Lab, open_lab
from deploy.lab.progress import Progress
from tests.support.phone_audio import RATE, SILENCE, Samples, level, resemblance, voiced_seconds
from tests.support.phone_baresip import Softphone
from tests.support.rest import Api, Customer, Json, action, admin_api, clock, new_customer
from tests.support.speech import spoken

GREETING = "Welcome to Evercall. Please press two keys."
REPLY = "You pressed {0}. I repeat, {0}."
GOODBYE = "Thank you. Goodbye."
KEYS = "74"

_PHONE_HOST = 100
_ALIKE = 0.75
_SPEAK_SECONDS = 15.0
# Longer than any pause within what is said, shorter than the one before the goodbye.
_PAUSE_SECONDS = 0.7


class DemoFailure(Exception):
    """The call did not go as it should."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the demo made through the API, and what the next five minutes begin with."""

    api: str
    key: str
    customer_id: str
    flow_id: str
    number: str

    def exports(self) -> str:
        """As shell variables."""
        names = {
            "API": self.api,
            "KEY": self.key,
            "CUSTOMER": self.customer_id,
            "NUMBER": self.number,
            "FLOW": self.flow_id,
        }
        return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in names.items())


@dataclass
class Story:
    """What happened, from all sides, to be told in the order of time."""

    lines: list[tuple[float, str, str]] = field(default_factory=list)

    def note(self, who: str, what: str, at: float | None = None) -> float:
        """Gives the time that it noted."""
        moment = time.time() if at is None else at
        self.lines.append((moment, who, what))
        return moment

    def tell(self) -> str:
        rows = [
            f"  {clock(datetime.fromtimestamp(at, UTC).isoformat())}  {who:<5}  {what}"
            for at, who, what in sorted(self.lines, key=lambda line: line[0])
        ]
        return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(prog="python -m deploy.lab.demo", description=__doc__)
    parser.add_argument("--export", action="store_true", help="print what an earlier run made")
    options = parser.parse_args(arguments)
    lab = open_lab()
    if options.export:
        return _export(lab)
    try:
        outcome = asyncio.run(_demo(lab, Progress()))
    except (AssertionError, DemoFailure, LabError, httpx.HTTPError, OSError) as fault:
        reason, *remedy = (str(fault) or type(fault).__name__).splitlines()
        print("\n".join([*remedy, f"demo: failed: {reason}"]))
        return 1
    print(f"demo: ok, {outcome}")
    return 0


def _export(lab: Lab) -> int:
    file = _file(lab)
    if not file.is_file():
        print("demo: nothing was made yet\n  -> make demo", file=sys.stderr)
        return 1
    print(Made(**json.loads(file.read_text())).exports())
    # It is in no file of the demo's: the lab keeps it.
    print(f"export ADMIN_KEY={shlex.quote(lab.credentials.admin_accesskey)}")
    return 0


def _file(lab: Lab) -> Path:
    return lab.paths.base / "demo.json"


async def _demo(lab: Lab, progress: Progress) -> str:
    with progress.step("platform"):
        names = [process.name for process in lab.farm.processes]
        await asyncio.to_thread(lab.wait_ready, names, 30.0, progress)
    admin = admin_api(lab)
    made = await _prepare(lab, admin, progress)
    customer = Customer(made.customer_id, Api(made.api, made.key), admin)
    phone = Softphone(lab, _PHONE_HOST, lab.paths.base / "demo")
    story = Story()
    try:
        return await _call(lab, phone, customer, made, story, progress)
    finally:
        await phone.stop()
        await _add_call(customer, made, story)
        print(f"\nthe call to {made.number}, by all who saw it (UTC)\n{story.tell()}\n")
        print(f"what was heard: {phone.heard_file}")
        print(f"for your own requests (kept in {_file(lab)}):\n{made.exports()}\n")
        await customer.api.close()
        await admin.close()


# -- customer, access key, flow, number ---------------------------------------------------------


async def _prepare(lab: Lab, admin: Api, progress: Progress) -> Made:
    """What an earlier run made, where it is still there; else everything anew."""
    with progress.step("customer, access key, flow, number"):
        made = await _earlier(lab, admin)
        if made is None:
            made = await _make(lab, admin)
            write_private(_file(lab), json.dumps(asdict(made), indent=2) + "\n")
    return made


async def _earlier(lab: Lab, admin: Api) -> Made | None:
    if not _file(lab).is_file():
        return None
    made = Made(**json.loads(_file(lab).read_text()))
    if made.api != lab.farm.api_url:
        return None
    customer = Customer(made.customer_id, Api(made.api, made.key), admin)
    try:
        flow = await customer.api.get(f"/v1.0/flows/{made.flow_id}")
        numbers = (await customer.api.get("/v1.0/numbers", page_size=100))["result"]
    except AssertionError:  # the database was made anew: no such key, no such flow
        return None
    finally:
        await customer.api.close()
    flows = {number["number"]: number["call_flow_id"] for number in numbers}
    is_present = _gist(flow["actions"]) == _gist(_actions())
    return made if is_present and flows.get(made.number) == made.flow_id else None


async def _make(lab: Lab, admin: Api) -> Made:
    customer = await new_customer(lab, admin, "demo")
    body = {"name": "demo", "actions": _actions()}
    flow_id = (await customer.api.post("/v1.0/flows", body))["id"]
    number = f"+4930{secrets.randbelow(9_000_000) + 1_000_000}"
    await admin.post(
        "/v1.0/numbers",
        {"number": number, "name": "demo", "call_flow_id": flow_id},
        customer_id=customer.id,
    )
    await customer.api.close()
    return Made(lab.farm.api_url, customer.api.accesskey, customer.id, flow_id, number)


def _gist(actions: list[Json]) -> list[tuple[str, str]]:
    """What makes two flows the same to the demo."""
    return [(step["type"], step.get("option", {}).get("text", "")) for step in actions]


def _actions() -> list[Json]:
    def say(text: str) -> Json:
        return action("talk", text=text, language="en-US")

    actions = [action("answer"), say(GREETING)]
    for _ in KEYS:
        actions.append(action("digits_receive", duration=10_000, length=1))
        actions.append(say(REPLY.format("${voipbin.call.digits}")))
    return [*actions, action("sleep", duration=1200), say(GOODBYE), action("hangup")]


# -- the call -----------------------------------------------------------------------------------


async def _call(
    lab: Lab, phone: Softphone, customer: Customer, made: Made, story: Story, progress: Progress
) -> str:
    with progress.step("softphone"):
        await phone.start()
    with progress.step(f"call {made.number}"):
        dialed = story.note("phone", f"dials {made.number} by {lab.farm.network.external_sip}")
        phone.dial(made.number)
        await phone.expect("established", within=10.0)
        answered = story.note("phone", "is answered")
    heard = 0
    with progress.step("hear the greeting"):
        heard = await _hear(lab, phone, GREETING, heard, story)
    for key in KEYS:
        with progress.step(f"press {key}, hear it said back"):
            phone.press(key)
            story.note("phone", f"presses {key}")
            others = [REPLY.format(other) for other in "0123456789" if other != key]
            heard = await _hear(lab, phone, REPLY.format(key), heard, story, others)
    with progress.step("hear the goodbye, and the end"):
        await _hear(lab, phone, GOODBYE, heard, story)
        await phone.expect("closed")
        story.note("phone", "sees the platform hang up")
    with progress.step("account"):
        await _check_account(customer, made)
    delay = f"answered in {(answered - dialed) * 1000:.0f} ms"
    return f"{delay}, speech recognised, keys {' and '.join(KEYS)} understood, accounted for"


async def _hear(
    lab: Lab,
    phone: Softphone,
    text: str,
    since: int,
    story: Story,
    others: Sequence[str] = (),
) -> int:
    """Returns the end of what was said.

    Raises:
        DemoFailure: it was not the text, or it was more like one of the others.
    """
    heard = await _utterance(phone, since)
    likeness = resemblance(heard, spoken(lab, text))
    if likeness < _ALIKE:
        raise DemoFailure(f'"{text}" was not heard (likeness {likeness:.2f}); {phone}')
    for other in others:
        if resemblance(heard, spoken(lab, other)) >= likeness:
            raise DemoFailure(f'"{other}" was heard instead of "{text}"')
    story.note("phone", f'has heard "{text}" (likeness {likeness:.2f})')
    return since + len(heard)


async def _utterance(phone: Softphone, since: int) -> Samples:
    """What is heard from there on until nothing more is said for a moment.

    Raises:
        DemoFailure: nothing is said, or it does not end.
    """
    until = time.monotonic() + _SPEAK_SECONDS
    pause = int(_PAUSE_SECONDS * RATE)
    while time.monotonic() < until:
        samples = phone.samples()[since:]
        over = len(samples) > pause and level(samples[-pause:]) < SILENCE
        if phone.is_closed or (over and voiced_seconds(samples) > 0.3):
            return samples
        await asyncio.sleep(0.1)
    raise DemoFailure(f"nothing was said, or without end; {phone}")


async def _check_account(customer: Customer, made: Made) -> None:
    call = await customer.ended((await _newest_call(customer, made))["id"])
    if (call["hangup_by"], call["hangup_reason"]) != ("local", "normal"):
        raise DemoFailure(f"the call is told to have ended otherwise: {call}")
    flow = await customer.ended_flow(call)
    types = [step["type"] for step in flow["executed_actions"]]
    if types != [step["type"] for step in _actions()]:
        raise DemoFailure(f"the flow is told to have gone otherwise: {types}")


# -- the story ----------------------------------------------------------------------------------


async def _newest_call(customer: Customer, made: Made) -> Json:
    for call in await customer.calls():
        if call["destination"]["target"] == made.number:
            return call
    raise DemoFailure(f"the API knows of no call to {made.number}")


async def _add_call(customer: Customer, made: Made, story: Story) -> None:
    """The platform's view of the call."""
    try:
        call = await _newest_call(customer, made)
        run = await customer.activeflow(call) if call["activeflow_id"] else None
        flow = await customer.api.get(f"/v1.0/flows/{made.flow_id}")
    except (AssertionError, DemoFailure, httpx.HTTPError) as fault:
        story.note("api", f"cannot tell: {fault}")
        return
    told = {
        "create": f"{call['direction']} from {call['source']['target']}, id {call['id']}",
        "progressing": "answered",
        "hangup": f"over: {call['hangup_reason']}, by {call['hangup_by']}",
    }
    for name, text in told.items():
        if call[f"tm_{name}"]:
            story.note("call", text, _seconds(call[f"tm_{name}"]))
    texts = {step["id"]: step["option"].get("text", "") for step in flow["actions"]}
    for step in run["executed_actions"] if run else []:
        text = f"{step['type']} {texts.get(step['id'], '')}".rstrip()
        story.note("flow", text, _seconds(step["tm_execute"]))


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


if __name__ == "__main__":
    raise SystemExit(main())
