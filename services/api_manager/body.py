"""Reads a request's body, up to the limit and not one chunk further."""

from starlette.requests import Request

from evercall.service.errors import InvalidRequest, TooLarge


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        TooLarge: `request_too_large`, before anything is read where the length says so.
        InvalidRequest: the client went away in the middle.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("request_canceled", "The body did not arrive whole")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(limit: int) -> TooLarge:
    return TooLarge("request_too_large", "The body is too large", details={"limit_bytes": limit})
