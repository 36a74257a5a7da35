"""Hooks of schemathesis, which runs in a process of its own: see `test_document.py`.

Calls go where the lab lets them, from a number that the customer has. What is generated as valid gets valid
actions and valid entries of policies: whether actions make a flow (targets, loops, options of each type), and
a text a network, is beyond a schema.
"""

import os
import re
from typing import Any

import schemathesis
from schemathesis.generation.modes import GenerationMode

from api_manager.domain.addresses import SIP_PATTERN

Case = schemathesis.Case[Any]

TARGET = os.environ["DOCUMENT_TARGET"]
SOURCE = {"type": "tel", "target": os.environ["DOCUMENT_SOURCE"]}
ACTIONS = [{"type": "answer"}, {"type": "sleep", "option": {"duration": 100}}, {"type": "hangup"}]


def map_case(context: schemathesis.HookContext, case: Case) -> Case:
    body = case.body
    if not isinstance(body, dict):
        return case
    for destination in _objects(body.get("destinations")):
        if _can_be_called(destination.get("target")):
            destination["target"] = TARGET
    if _is_valid(case):
        _make_meaningful(body)
    return case


def _make_meaningful(body: dict[str, Any]) -> None:
    if isinstance(body.get("actions"), list):
        body["actions"] = ACTIONS
    if isinstance(body.get("source"), dict):
        body["source"] |= SOURCE
    _fill(body, "sources", SOURCE["target"])
    if isinstance(body.get("destinations"), dict):
        _fill(body["destinations"], "allow", "+49")
        _fill(body["destinations"], "deny", "+49900")


def _fill(body: dict[str, Any], field: str, entry: str) -> None:
    if isinstance(body.get(field), list):
        body[field] = [entry] * len(body[field])


def _can_be_called(target: Any) -> bool:
    """What is no address is left as it is, for the API to refuse."""
    return isinstance(target, str) and re.fullmatch(SIP_PATTERN, target, re.ASCII) is not None


def _is_valid(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


schemathesis.hook(map_case)
