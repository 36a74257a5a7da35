import inspect

import pytest

from evercall.contracts.base import ErrorData
from evercall.service import errors

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.PlatformError) and kind is not errors.PlatformError
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_the_bus_as_the_same_class(kind: type[errors.PlatformError]) -> None:
    error = kind("some_code", "Some message", details={"field": "number"})
    back = errors.from_data(error.to_data())
    assert type(back) is kind
    assert (back.code, back.message, back.details) == (error.code, error.message, error.details)
    assert back.retryable == error.to_data().retryable


def test_the_tree_in_the_docstring_names_every_class_with_its_status() -> None:
    tree = {
        words[1]: int(words[2])
        for words in (line.split() for line in (errors.__doc__ or "").splitlines())
        if len(words) > 2 and words[0] in ("├──", "└──")
    }
    assert tree == {kind.__name__: kind.http_status for kind in KINDS}


def test_an_unknown_status_is_an_internal_error() -> None:
    data = ErrorData(code="odd", message="Odd", details={"http_status": 299})
    assert type(errors.from_data(data)) is errors.Internal
