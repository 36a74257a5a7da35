"""Requests that read calls. What changes a call goes to its actor (`subscriptions`)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from call_manager.domain.call import CallState, to_resource
from evercall.actor.query import ActorQuery
from evercall.contracts.base import Page, Request
from evercall.contracts.call import Call, CallGet, CallList
from evercall.service.errors import NotFound

Handler = Callable[[Any], Awaitable[msgspec.Struct]]


class CallReader:
    """One method per request."""

    def __init__(self, calls: ActorQuery[CallState]) -> None:
        self._calls = calls

    @property
    def handlers(self) -> Mapping[type[Request[Any]], Handler]:
        """For `Bus.serve`."""
        return {CallGet: self.get, CallList: self.list}

    async def get(self, request: CallGet) -> Call:
        """One call of the customer."""
        call = await self._calls.get(request.id)
        if call is None or call.customer_id != request.customer_id:
            raise NotFound("call_not_found", "There is no such call")
        return to_resource(call)

    async def list(self, request: CallList) -> Page[Call]:
        """A page of the customer's calls, newest first."""
        calls, token = await self._calls.list(
            request.customer_id, request.page_size, request.page_token
        )
        return Page(result=[to_resource(call) for call in calls], next_page_token=token)
