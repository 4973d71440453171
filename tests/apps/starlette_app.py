"""An application of Starlette, an ASGI framework: coroutines on the loop, plain functions in the framework's threads.

In, from the environment: what `asgi_app` takes. Out: `application`. The routes of `asgi_app`, of which `/cpu` and `/sleep`
are plain functions here.
"""

import time

import asgi_app
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


METHODS = ["GET", "POST"]
framework = Starlette(
    routes=[
        Route("/cpu/{id}", compute, methods=METHODS),
        Route("/sleep/{milliseconds}/{id}", sleep, methods=METHODS),
        Route("/{path:path}", coroutine, methods=METHODS),
    ]
)
application = witnessed(framework)
