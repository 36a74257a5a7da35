"""One example for every request body; a test sees to it that each is valid."""

from collections.abc import Mapping
from typing import Any

_FLOW_ID = "0199a8f2-6c4e-7b11-9d57-0f3a5c2e8b10"
_CALL_ID = "0199a8f2-7d02-7e43-8a1c-5b90d3e6f7a1"

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "CustomerBody": {"name": "ACME", "email": "ops@acme.example"},
    "QuotasBody": {"concurrent_calls": 100, "calls_per_second": 5},
    "DestinationsBody": {"allow": ["+49"], "deny": ["+49900", "203.0.113.0/24"]},
    "PolicyBody": {
        "sources": ["+4930123456", "sip:desk@acme.example"],
        "destinations": {"allow": ["+49"], "deny": ["+49900"]},
    },
    "AccesskeyBody": {"name": "ci", "scopes": ["read", "calls"], "expire": 86400},
    "AccesskeyChangeBody": {"name": "ci", "detail": "nightly"},
    "TokenBody": {"accesskey": "ec_…", "scopes": ["media"], "call_id": _CALL_ID},
    "FlowBody": {
        "name": "welcome",
        "actions": [
            {"type": "answer"},
            {"type": "talk", "option": {"text": "Welcome!", "language": "en-US"}},
            {"type": "hangup"},
        ],
    },
    "NumberBody": {"number": "+4930123456", "name": "hotline", "call_flow_id": _FLOW_ID},
    "NumberChangeBody": {"name": "hotline", "call_flow_id": _FLOW_ID},
    "AddressBody": {"type": "tel", "target": "+4930123456"},
    "DestinationBody": {"type": "sip", "target": "sip:alice@192.0.2.10:5060"},
    "CallsBody": {
        "source": {"type": "tel", "target": "+4930123456"},
        "destinations": [{"type": "sip", "target": "sip:alice@192.0.2.10:5060"}],
        "actions": [
            {"type": "answer"},
            {"type": "talk", "option": {"text": "Hello ${who}", "language": "en-US"}},
        ],
        "variables": {"who": "Alice"},
    },
}
