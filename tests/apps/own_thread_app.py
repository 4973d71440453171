"""An ASGI application whose requests each have a thread of their own for what is not asynchronous, as Django gives its views one
by asgiref: a pool of one thread, made with the request, that prepares, runs the view, tidies up after the answer, and ends.

In, from the environment: READY_FILE, REQUEST_LOG (one line for each request, as `witnessed` writes them), WITNESS_FILE (one for each sleep). Out:
`application`. A route may be followed by any unique id.

/fast          a few bytes at once                      /truth/sleep/MS/ID      time.sleep in the request's thread, timed there
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import witness
from asgi_witness import witnessed


def prepare():
    """What comes before a view: next to nothing."""


def view(path):
    route, *rest = path.strip("/").split("/")
    if route == "truth":
        kind, milliseconds, unique = rest
        work = witness.Work(unique)
        with work.of(kind):
            time.sleep(float(milliseconds) / 1000)
        work.note()
    return b"hello\n"


async def serve(scope, receive, send):
    loop = asyncio.get_running_loop()
    own = ThreadPoolExecutor(max_workers=1)
    await loop.run_in_executor(own, prepare)
    body = await loop.run_in_executor(own, view, scope["path"])
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    await loop.run_in_executor(own, prepare)
    own.shutdown(wait=False)


async def ready(scope, receive, send):
    """Only requests are served."""
    if scope["type"] == "http":
        await serve(scope, receive, send)


application = witnessed(ready)
witness.ready()
