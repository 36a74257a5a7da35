"""`/auth`: tokens for access keys."""

from fastapi import APIRouter, Request, Response

from api_manager.answers import answers, json_answer
from api_manager.audit.entry import attempt_of
from api_manager.authentication import TokenWish
from api_manager.bodies import TokenBody
from api_manager.components import components_of
from api_manager.domain.credentials import AccesskeyToken
from api_manager.operation import Operation
from api_manager.request_state import state_of
from api_manager.resources import Token

router = APIRouter(prefix="/auth", tags=["Auth"], route_class=Operation)


@router.post("/token", summary="Exchange an access key for a token", openapi_extra=answers(Token))
async def create_token(body: TokenBody, request: Request) -> Response:
    """Gives a short-lived token that stands for the access key, for places where the key itself should
    not go: a browser, a URL of a WebSocket. It ends early when the key is revoked. Give it no more
    scopes than its place needs: one for a URL of an audio stream needs `media` and the `call_id`."""
    components, state = components_of(request), state_of(request.scope)
    wish = TokenWish(body.wanted, body.call_id)
    key = AccesskeyToken(body.accesskey)
    state.principal, token = await components.authenticator.exchange(key, wish)
    holder = state.principal
    made = attempt_of(state, holder, holder.customer_id, "create_token", "token")
    await components.audit.done(made)
    return json_answer(token)
