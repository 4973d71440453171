"""An application of Starlette, an ASGI framework: coroutines on the loop, plain functions in the framework's threads.

In, from the environment: what `asgi_app` takes. Out: `application`. The routes of `asgi_app`, of which `/cpu` and `/sleep`
are plain functions here.
"""

import os
import threading
import time

import asgi_app
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from witnessed import write


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


async def application(scope, receive, send):
    if scope["type"] != "http":
        await framework(scope, receive, send)
        return
    line = {
        "method": scope["method"],
        "path": scope["path"],
        "status": 500,
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "start_ns": time.monotonic_ns(),
        "returned_ns": None,
        "end_ns": None,
    }

    async def witness(message):
        if message["type"] == "http.response.start":
            line["status"] = message["status"]
            line["returned_ns"] = time.monotonic_ns()
        await send(message)

    try:
        await framework(scope, receive, witness)
        line["end_ns"] = time.monotonic_ns()
    finally:
        write(line)
