"""The reasons that errors give: what happened, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """A value of `error.reason`."""

    http_status: int
    meaning: str


REASONS: Mapping[str, Reason] = {
    "INVALID_ARGUMENT": Reason(400, "The body holds fields that are wrong; `details` names them."),
    "DESTINATION_NOT_ALLOWED": Reason(
        400,
        "A destination must not be called; `details` names each. The administrator may allow it.",
    ),
    "INVALID_JSON_BODY": Reason(400, "The body is not a JSON object, or not `application/json`."),
    "INVALID_ID": Reason(400, "The id in the path is not a UUID."),
    "INVALID_REQUEST_PARAMETER": Reason(400, "A query parameter or header is wrong."),
    "MISSING_REQUEST_PARAMETER": Reason(400, "A query parameter or header is missing."),
    "WEBSOCKET_REQUIRED": Reason(400, "This path is a WebSocket; `details` says what is missing."),
    "REQUEST_CANCELED": Reason(400, "The body did not arrive whole."),
    "AUTHENTICATION_REQUIRED": Reason(401, "No credentials came with the request."),
    "INVALID_CREDENTIALS": Reason(
        401, "The access key or token does not exist, has expired or was revoked."
    ),
    "PERMISSION_DENIED": Reason(403, "These credentials are not enough for this."),
    "SCOPE_MISSING": Reason(
        403, "The access key or token lacks the scope that `details[0].scope` names."
    ),
    "ACCESSKEY_REQUIRED": Reason(
        403, "Access keys are managed with an access key, not with a token."
    ),
    "ACCOUNT_FROZEN": Reason(403, "The customer's account is frozen; ask the administrator."),
    "SOURCE_NOT_ALLOWED": Reason(
        403, "`source` is neither a number of yours nor an origin that was verified for you."
    ),
    "ROUTE_NOT_FOUND": Reason(404, "There is no such path."),
    "CUSTOMER_NOT_FOUND": Reason(404, "There is no such customer."),
    "ACCESSKEY_NOT_FOUND": Reason(404, "There is no such access key, or it is not yours."),
    "FLOW_NOT_FOUND": Reason(404, "There is no such flow, or it is not yours."),
    "NUMBER_NOT_FOUND": Reason(404, "There is no such number, or it is not yours."),
    "CALL_NOT_FOUND": Reason(404, "There is no such call, or it is not yours."),
    "CONFERENCE_NOT_FOUND": Reason(404, "There is no such conference, or it is not yours."),
    "MEDIA_STREAM_NOT_FOUND": Reason(
        404, "There is no such stream any more; open a new one, without `resume`."
    ),
    "ACTIVEFLOW_NOT_FOUND": Reason(404, "There is no such activeflow, or it is not yours."),
    "METHOD_NOT_ALLOWED": Reason(405, "The path has other methods; the header `Allow` names them."),
    "NUMBER_ALREADY_EXISTS": Reason(409, "Somebody has this number."),
    "NUMBER_RESTING": Reason(
        409, "Another customer gave this number up not long ago; assign it after `Retry-After`."
    ),
    "FLOW_ALREADY_EXISTS": Reason(409, "There is a flow with this id."),
    "CALL_ALREADY_HANGUP": Reason(409, "The call has ended already."),
    "CALL_NOT_PROGRESSING": Reason(409, "Only a call that is up has audio."),
    "MEDIA_STREAM_LIMIT_REACHED": Reason(409, "The call has as many streams as it may have."),
    "STATE_INVALID": Reason(409, "Not possible in the present state."),
    "IDEMPOTENCY_KEY_IN_USE": Reason(
        409, "The first request with this key has not ended; say it again after `Retry-After`."
    ),
    "IDEMPOTENCY_KEY_REUSED": Reason(409, "The key belongs to another request; take a new one."),
    "REQUEST_TOO_LARGE": Reason(413, "The body is larger than `details[0].limit_bytes`."),
    "QUOTA_EXCEEDED": Reason(
        429, "A quota of the customer is used up: `details[0]` has its name and how much it is."
    ),
    "MESSAGE_TOO_LARGE": Reason(413, "What would have to be passed on has more than `most` bytes."),
    "MESSAGE_HEADER_TOO_LONG": Reason(400, "A name in the request has more than 255 bytes."),
    "RATE_LIMIT_EXCEEDED": Reason(429, "Too many requests; wait for `Retry-After` seconds."),
    "REQUEST_UNREADABLE": Reason(
        400, "A service of another version could not read it; upgrade all of them."
    ),
    "INTERNAL": Reason(500, "Our fault. Tell us the `request_id`."),
    "ANSWER_TOO_LARGE": Reason(500, "Our fault: the answer can't be passed on."),
    "UNREADABLE_ANSWER": Reason(500, "Our fault: two parts of the platform do not agree."),
    "SERVICE_UNAVAILABLE": Reason(503, "A part of the platform is away; try again."),
    "DRAINING": Reason(503, "This process is about to leave; another one takes the stream."),
    "TOO_MANY_CONNECTIONS": Reason(503, "This process has as many connections as it may have."),
    "ASTERISK_UNAVAILABLE": Reason(503, "The audio of the call cannot be had now; try again."),
    "BROKER_UNAVAILABLE": Reason(503, "The message broker is away; try again."),
    "BROKER_BLOCKED": Reason(503, "The message broker takes nothing now; try again."),
    "STORE_UNAVAILABLE": Reason(503, "The database is away; try again."),
    "REQUEST_TIMEOUT": Reason(
        504, "No answer in time. It may have been done: repeat with the same `Idempotency-Key`."
    ),
}
