"""An application of Starlette, an ASGI framework: coroutines on the loop, plain functions in the framework's threads.

In, from the environment: what `asgi_app` takes. Out: `application`. The routes of `asgi_app`, of which `/cpu` and `/sleep`
are plain functions here; `/plain/drip` is `/drip` of `streams.py` with a plain iterator.
"""

import time

import asgi_app
import streams
from asgi_witness import witnessed
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route


async def coroutine(request):
    """What `asgi_app` does on that path."""
    body = await request.body()

    async def receive():
        return {"body": body}

    status, chunks = await asgi_app.respond(request.url.path, receive)
    if len(chunks) > 1:
        return StreamingResponse(iter(chunks), status, media_type="text/plain")
    return Response(b"".join(chunks), status, media_type="text/plain")


def compute(request):
    asgi_app.compute(5)
    return PlainTextResponse("computed\n")


def sleep(request):
    time.sleep(float(request.path_params["milliseconds"]) / 1000)
    return PlainTextResponse("slept\n")


def stream(request):
    """Pieces that a coroutine gives."""
    route, *rest = request.url.path.strip("/").split("/")
    return StreamingResponse(streams.pieces_of_loop(route, *rest, asgi_app.ask_backend))


def plain_stream(request):
    """Pieces that a plain iterator gives, in the framework's threads; it only sleeps."""
    count, milliseconds, unique = request.url.path.split("/")[-3:]
    return StreamingResponse(streams.pieces("drip", count, milliseconds, unique, None))


METHODS = ["GET", "POST"]
framework = Starlette(
    routes=[
        Route("/cpu/{id}", compute, methods=METHODS),
        Route("/sleep/{milliseconds}/{id}", sleep, methods=METHODS),
        Route("/drip/{path:path}", stream, methods=METHODS),
        Route("/relay/{path:path}", stream, methods=METHODS),
        Route("/plain/drip/{path:path}", plain_stream, methods=METHODS),
        Route("/{path:path}", coroutine, methods=METHODS),
    ]
)
application = witnessed(framework)
