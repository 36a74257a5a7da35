"""`/auth`: tokens for access keys."""

from fastapi import APIRouter, Request, Response

from api_manager.answers import answers, json_answer
from api_manager.authentication import TokenWish
from api_manager.bodies import TokenBody
from api_manager.components import components_of
from api_manager.domain.credentials import AccesskeyToken
from api_manager.operation import Operation
from api_manager.resources import Token

router = APIRouter(prefix="/auth", tags=["Auth"], route_class=Operation)


@router.post("/token", summary="Exchange an access key for a token", openapi_extra=answers(Token))
async def create_token(body: TokenBody, request: Request) -> Response:
    """Gives a short-lived token that stands for the access key, for places where the key itself should
    not go: a browser, a URL of a WebSocket. It ends early when the key is revoked. Give it no more
    scopes than its place needs: one for a URL of an audio stream needs `media` and the `call_id`."""
    authenticator = components_of(request).authenticator
    wish = TokenWish(body.wanted, body.call_id)
    _, token = await authenticator.exchange(AccesskeyToken(body.accesskey), wish)
    return json_answer(token)
