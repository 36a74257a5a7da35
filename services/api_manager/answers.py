"""Success as JSON: resources of the contracts, encoded as they are, and described as they are."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query, Response

from evercall.store.paging import TOKEN_PATTERN

_encode = msgspec.json.Encoder().encode


def json_answer(value: msgspec.Struct) -> Response:
    """The answer 200 with a resource, or a page of them."""
    return Response(_encode(value), media_type="application/json")


def answers(schema: Any) -> dict[str, Any]:
    """For `openapi_extra`: what an operation answers with. Handlers return finished answers, so that
    FastAPI does not validate and encode them a second time."""
    (reference,), _ = msgspec.json.schema_components(
        [schema], ref_template="#/components/schemas/{name}"
    )
    content = {"application/json": {"schema": reference}}
    return {"responses": {"200": {"description": "Done.", "content": content}}}


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list is wanted."""

    page_size: int
    page_token: str


async def _paging(
    page_size: Annotated[int, Query(ge=1, le=100, description="Rows of a page.")] = 20,
    page_token: Annotated[
        str,
        Query(
            max_length=32,
            description="The `next_page_token` of the page before.",
            json_schema_extra={"pattern": f"^({TOKEN_PATTERN})?$"},
        ),
    ] = "",
) -> Paging:
    return Paging(page_size, page_token)


Page = Annotated[Paging, Depends(_paging)]
