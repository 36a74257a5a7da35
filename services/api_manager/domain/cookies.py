"""The `Cookie` header (RFC 6265 section 4.2.1), read in one pass.

It is read before anybody is authenticated, so its cost must be bounded: the parser of the standard library
is quadratic, and 8 KB of backslashes and quotes cost it 0.12 s.
"""

from evercall.service.errors import InvalidRequest

MAX_COOKIE_BYTES = 4096


def read_cookies(header: str) -> dict[str, str]:
    """The cookies of a request. What is no pair of a name and a value is skipped; of two cookies with one
    name the first counts, which browsers send for the longer path (section 5.4).

    Raises:
        InvalidRequest: `invalid_request_parameter`: the header is longer than `MAX_COOKIE_BYTES`.
    """
    if len(header) > MAX_COOKIE_BYTES:
        raise InvalidRequest(
            "invalid_request_parameter",
            f"The Cookie header is longer than {MAX_COOKIE_BYTES} bytes",
            details={"field": "Cookie"},
        )
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, separator, value = pair.partition("=")
        name = name.strip()
        if separator and name:
            cookies.setdefault(name, _unquoted(value.strip()))
    return cookies


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
