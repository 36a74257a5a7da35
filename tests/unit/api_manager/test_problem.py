"""Errors as the public API shows them."""

from typing import Any

import msgspec
import pytest

from api_manager.documentation.reasons import REASONS
from evercall.service import errors
from evercall.service.problem import STATUS_WORDS, to_problem


def rendered(error: errors.PlatformError) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(to_problem(error, "r-1").body)["error"]
    return body


def test_every_error_class_has_a_status_word_of_the_closed_set() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    platform = {kind for kind in kinds if issubclass(kind, errors.PlatformError)}
    assert {kind.http_status for kind in platform} == set(STATUS_WORDS)


def test_the_shape() -> None:
    error = errors.NotFound("call_not_found", "There is no such call")
    assert rendered(error) == {
        "status": "NOT_FOUND",
        "reason": "CALL_NOT_FOUND",
        "message": "There is no such call",
        "request_id": "r-1",
    }


def test_several_faults_stand_in_the_details_by_field() -> None:
    faults = [{"path": "actions[2].type", "message": "no such action"}]
    error = errors.InvalidRequest("invalid_argument", "no", details={"faults": faults})
    assert rendered(error)["details"] == [{"field": "actions[2].type", "message": "no such action"}]


def test_one_field_stands_in_the_details_with_the_message() -> None:
    error = errors.Conflict("number_already_exists", "taken", details={"field": "number"})
    body = rendered(error)
    assert body["status"] == "ALREADY_EXISTS"
    assert body["details"] == [{"field": "number", "message": "taken"}]


def test_an_internal_error_keeps_its_details_inside() -> None:
    error = errors.Internal("internal", "The request failed", details={"query": "SELECT secret"})
    assert "details" not in rendered(error)


def test_names_of_services_stay_inside() -> None:
    error = errors.Unavailable("service_unavailable", "away", details={"service": "flow_manager"})
    assert "details" not in rendered(error)


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (errors.Unavailable("broker_unavailable", "away"), {"Retry-After": "1"}),
        (errors.RateLimited("rate_limit_exceeded", "", details={"retry_after": 0.2}), {"Retry-After": "1"}),
        (errors.RateLimited("rate_limit_exceeded", "", details={"retry_after": 1.2}), {"Retry-After": "2"}),
        (errors.Unauthorized("invalid_credentials", "no"), {"WWW-Authenticate": 'Bearer realm="evercall"'}),
        (errors.MethodNotAllowed("method_not_allowed", "", details={"allow": "GET"}), {"Allow": "GET"}),
        (errors.NotFound("call_not_found", "no"), {}),
    ],
)  # fmt: skip
def test_headers(error: errors.PlatformError, header: dict[str, str]) -> None:
    assert to_problem(error, "r-1").headers == header


def test_every_documented_reason_has_a_status_that_errors_can_have() -> None:
    assert {reason.http_status for reason in REASONS.values()} == set(STATUS_WORDS)
    assert all(name == name.upper() and reason.meaning for name, reason in REASONS.items())
