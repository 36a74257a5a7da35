"""Requests about calls that any replica answers. What changes a call goes to its actor (`subscriptions`)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from call_manager.customers import CustomerCalls
from call_manager.domain.call import CallState, to_resource
from call_manager.gateways.admission import Admission
from evercall.actor.query import ActorQuery
from evercall.contracts.base import Empty, Page, Request
from evercall.contracts.call import (
    Call,
    CallGet,
    CallList,
    CallsAdmit,
    CustomersCallsEnd,
    CustomerUseFind,
    MediaStreamAdmit,
)
from evercall.service.errors import NotFound

Handler = Callable[[Any], Awaitable[msgspec.Struct]]


class CallReader:
    """One method per request."""

    def __init__(
        self, calls: ActorQuery[CallState], customers: CustomerCalls, admission: Admission
    ) -> None:
        self._calls = calls
        self._customers = customers
        self._admission = admission

    @property
    def handlers(self) -> Mapping[type[Request[Any]], Handler]:
        """For `Bus.serve`."""
        return {
            CallGet: self.get,
            CallList: self.list,
            CallsAdmit: self.admit,
            MediaStreamAdmit: self.admit_stream,
            CustomerUseFind: self._customers.use,
            CustomersCallsEnd: self._customers.end,
        }

    async def admit(self, request: CallsAdmit) -> Empty:
        """Admits outgoing calls before they exist."""
        await self._admission.admit_outgoing(request.customer_id, request.call_ids)
        return Empty()

    async def admit_stream(self, request: MediaStreamAdmit) -> Empty:
        """Admits a media stream before its leg exists."""
        find = CustomerUseFind(customer_id=request.customer_id)
        use = await self._customers.use(find)
        await self._admission.admit_stream(request.customer_id, use.media_streams)
        return Empty()

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
