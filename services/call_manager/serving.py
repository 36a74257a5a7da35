"""Serves prepared audio to Asterisk."""

import re

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from call_manager.gateways.audio import SUFFIX
from call_manager.store import AudioStore
from evercall.service.errors import Unavailable

# Content never changes under its name.
HEADERS = {"Cache-Control": "public, max-age=31536000, immutable"}

_FILE = re.compile(rf"([0-9a-f]{{40}}){re.escape(SUFFIX)}")


def audio_app(store: AudioStore) -> Starlette:
    """`GET /audio/<name>.ulaw`"""

    async def audio(request: Request) -> Response:
        match = _FILE.fullmatch(request.path_params["file"])
        if match is None:
            return Response(status_code=404)
        try:
            content = await store.load(match[1])
        except Unavailable:
            return Response(status_code=503, headers={"Retry-After": "1"})
        if content is None:
            return Response(status_code=404)
        headers = {**HEADERS, "ETag": f'"{match[1]}"'}
        return Response(content, media_type="audio/basic", headers=headers)

    return Starlette(routes=[Route("/audio/{file}", audio, methods=["GET"])])
