"""Pages over rows, newest first, by keyset: a page begins strictly after the last row of the one before.

The key is (created_at, id). Ids are unique, so rows with equal times are neither skipped nor repeated, and
rows that appear meanwhile are newer than the cursor and do not move what follows it.
"""

import base64
import re
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, tuple_

from evercall.service.errors import InvalidRequest

Row = TypeVar("Row")

TOKEN_PATTERN = "A[A-P][A-Za-z0-9_-]{30}"  # noqa: S105 - no secret
"""Tokens of moments until the year 4253: 24 bytes, of which the first is 0."""

_SHAPE = re.compile(TOKEN_PATTERN, re.ASCII)
_TOKEN = struct.Struct(">Q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_token(created_at: datetime, identifier: UUID) -> str:
    """The opaque token of the page that begins after this row."""
    microseconds = (created_at - _EPOCH) // timedelta(microseconds=1)
    raw = _TOKEN.pack(microseconds, identifier.bytes)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_token(token: str) -> tuple[datetime, UUID]:
    """Reads a token.

    Raises:
        InvalidRequest: the token did not come from `encode_token`.
    """
    if not _SHAPE.fullmatch(token):
        raise InvalidRequest(
            "invalid_request_parameter",
            "page_token must be the next_page_token of the page before",
            details={"field": "page_token"},
        )
    microseconds, identifier = _TOKEN.unpack(base64.urlsafe_b64decode(token))
    return _EPOCH + timedelta(microseconds=microseconds), UUID(bytes=identifier)


def newest_first(
    query: Select[Any],
    created_at: ColumnElement[datetime],
    identifier: ColumnElement[UUID],
    page_size: int,
    page_token: str,
) -> Select[Any]:
    """Orders and bounds a query; it fetches one row more than the page, see `page`."""
    if page_token:
        query = query.where(tuple_(created_at, identifier) < tuple_(*decode_token(page_token)))
    return query.order_by(created_at.desc(), identifier.desc()).limit(page_size + 1)


def page(
    rows: Sequence[Row], page_size: int, key: Callable[[Row], tuple[datetime, UUID]]
) -> tuple[list[Row], str]:
    """Cuts the extra row off and gives the next page's token, empty on the last page."""
    if len(rows) <= page_size:
        return list(rows), ""
    kept = list(rows[:page_size])
    return kept, encode_token(*key(kept[-1]))
