"""What the fields of resources mean, for the public documentation.

Their types come from the contracts; a test sees to it that no field goes without a description.
"""

from collections.abc import Mapping

_COMMON: Mapping[str, str] = {
    "id": "The resource's own id.",
    "customer_id": "The customer that it belongs to.",
    "name": "For people.",
    "detail": "For people.",
    "tm_create": "When it was created.",
    "tm_update": "When it changed last.",
    "tm_delete": "When it was deleted.",
}

_PAGE: Mapping[str, str] = {
    "result": "The rows, newest first.",
    "next_page_token": "`page_token` of the next page; empty on the last one.",
}

_OWN: Mapping[str, Mapping[str, str]] = {
    "Customer": {
        "email": "Where the customer is reached.",
        "phone_number": "Where the customer is reached.",
        "address": "The customer's postal address.",
        "status": "`active`, or `frozen`: its keys are refused, and it neither places nor takes calls.",
        "quotas": "How much it may have, the platform's defaults included.",
        "policy": "Whom it may call, and as whom.",
        "use": "How much of its quotas is taken now; only with a single customer.",
    },
    "Quotas": {
        "concurrent_calls": "Calls that are up or on their way, both directions.",
        "calls_per_second": "Outgoing calls that may be placed.",
        "destinations_per_request": "Destinations of one request.",
        "speech_at_once": "Texts that are spoken at the same time, per replica.",
        "speech_characters_per_minute": "Characters of texts that were not spoken before, per replica.",
        "downloads_at_once": "Prompts that are fetched at the same time, per replica.",
        "downloads_per_minute": "Prompts that are fetched, per replica.",
        "storage_bytes": "Prompts that are kept.",
        "flows": "Flows that it may have.",
        "media_streams": "Media streams that are open at once.",
    },
    "Policy": {
        "sources": "Verified origins of calls beside its own numbers.",
        "destinations": "Where its calls may go, and where not.",
    },
    "Destinations": {
        "allow": "Prefixes, networks, hosts and domains that may be called.",
        "deny": "Those that must not be called. The most specific entry decides.",
    },
    "CustomerUse": {
        "concurrent_calls": "Calls that are up or on their way now.",
        "media_streams": "Media streams that are open now.",
    },
    "Accesskey": {
        "token": "The key itself. Shown once, in the answer that created it; empty ever after.",
        "token_prefix": "How the key begins, to tell keys apart.",
        "scopes": "What it may be used for: see *Scopes*.",
        "tm_expire": "When it ceases to work.",
        "tm_last_use": "When it was used last, to the minute.",
    },
    "Token": {
        "token": "Send it as `Authorization: Bearer …`.",
        "scopes": "What it may be used for: see *Scopes*.",
        "call_id": "The only call whose audio it opens; without one those of all calls.",
        "expires_in": "Seconds that it lives.",
        "tm_expire": "When it ceases to work.",
    },
    "Flow": {
        "type": "What the flow is for.",
        "actions": "The steps.",
        "on_complete_flow_id": "The flow that runs when this one has ended.",
    },
    "Action": {
        "type": "What is done: `answer`, `talk`, `branch` …",
        "next_id": "The successor; without it the next in the list.",
        "option": "What the type takes.",
        "tm_execute": "When it was begun.",
    },
    "Number": {
        "number": "E.164 with `+`.",
        "call_flow_id": "The flow that a call to it starts; without one, calls are refused.",
    },
    "Address": {
        "type": "`sip` or `tel`.",
        "target": "A SIP URI, or an E.164 number.",
        "target_name": "The name that the other side sees.",
    },
    "CurrentAction": {
        "type": "What is done.",
        "option": "How, with all variables filled in.",
        "tm_execute": "When it was begun.",
    },
    "Call": {
        "owner_type": "The kind of owner, where somebody owns the call.",
        "owner_id": "Who owns the call.",
        "flow_id": "The flow that the call runs.",
        "activeflow_id": "The execution of that flow.",
        "type": "What the call is for.",
        "master_call_id": "The call that this one was made for.",
        "chained_call_ids": "Calls that end with this one.",
        "recording_id": "The recording that runs.",
        "recording_ids": "All recordings of the call.",
        "groupcall_id": "The groupcall that the call is part of.",
        "source": "Who calls.",
        "destination": "Who is called.",
        "status": "Where the call is in its life.",
        "action": "What the call does now.",
        "direction": "`incoming` or `outgoing`, seen from the platform.",
        "mute_direction": "Which direction is silenced.",
        "hangup_by": "Who ended it: `local` is the platform.",
        "hangup_reason": "Why it ended.",
        "metadata": "More about the call.",
        "tm_ringing": "When it began to ring.",
        "tm_progressing": "When it was answered.",
        "tm_hangup": "When it ended.",
    },
    "AuditLog": {
        "customer_id": "On whose behalf; null where nobody knows.",
        "actor_type": "Who: `accesskey`, `token`, `administrator`; `unknown` where no credentials held.",
        "actor_id": "The access key, or the one that the token stands for; null for the administrator.",
        "actor_customer_id": "The customer that those credentials belong to.",
        "operation": "The `operationId`; `refused` counts refused credentials.",
        "resource_type": "What kind of object it is about.",
        "resource_ids": "The objects that were named or created.",
        "client_address": "Where it came from: **personal data**. Customers do not see the administrator's.",
        "request_id": "The `X-Request-Id` of the request.",
        "status": "The HTTP status; null where the result is not known (yet).",
        "reason": "The `reason` of the error; empty for a success.",
        "count": "How many times: more than once for refused credentials only.",
        "tm_create": "When it was attempted.",
        "tm_result": "When the result was known.",
    },
    "CallsCreated": {
        "calls": "One call per destination, in their order.",
        "groupcalls": "Groups of calls that ring together; none yet.",
    },
    "Activeflow": {
        "flow_id": "The flow that is executed.",
        "status": "`running` or `ended`.",
        "reference_type": "What the flow runs for: `call`.",
        "reference_id": "Which call it runs for.",
        "on_complete_flow_id": "The flow that runs when this one has ended.",
        "current_action": "The action that was handed out last.",
        "forward_action_id": "Where the flow goes on, when told so from outside.",
        "executed_actions": "What was done, in order, without options; the newest are kept.",
        "variables": "The flow's variables.",
        "end_reason": "Why it ended; empty while it runs.",
        "faults": "What could not be done; the flow went on without it.",
    },
    "ActionFault": {
        "action_id": "The action that it happened in.",
        "message": "What could not be done.",
    },
    "ErrorAnswer": {"error": "What went wrong."},
    "ErrorBody": {
        "status": "A word that goes with the HTTP status.",
        "reason": "What happened, for programs.",
        "message": "What happened, for people. It never holds what you sent.",
        "request_id": "Names this request in our logs.",
        "details": "One entry for each fault; those of fields have `field` and `message`.",
    },
}


def describe(schema: str, field: str) -> str:
    """What a field of a schema means; "" when nobody has said."""
    own = _PAGE if schema.startswith("Page_") else _OWN.get(schema, {})
    return own.get(field) or _COMMON.get(field, "")
