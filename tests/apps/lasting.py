"""Connections that become something else: WebSockets and streams of events, by a server of threads and by one of coroutines.

In: `/socket/ID` is a WebSocket that sends back what comes, `/events/ID` a stream of events until its client leaves, `/open` says how many there
are of each, all else is answered at once. Out: `app`, `application`.
"""

import asyncio
import threading
import time

from witness import ready

EVERY_SECONDS = 0.02
EVENT = b"data: something\n\n"

lock = threading.Lock()
open_now = {"socket": 0, "events": 0}


class Counted:
    """Counts one of a kind for as long as it is open."""

    def __init__(self, kind):
        self.kind = kind

    def __enter__(self):
        with lock:
            open_now[self.kind] += 1

    def __exit__(self, *_):
        with lock:
            open_now[self.kind] -= 1


def page(path):
    return f"{open_now['socket']} {open_now['events']}\n".encode() if path == "/open" else b"ok\n"


def events():
    with Counted("events"):
        while True:
            yield EVENT
            time.sleep(EVERY_SECONDS)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/socket/"):
        import simple_websocket

        connection = simple_websocket.Server(environ)
        with Counted("socket"):
            try:
                while True:
                    connection.send(connection.receive())
            except simple_websocket.ConnectionClosed:
                pass
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]
    if path.startswith("/events/"):
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    body = page(path)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    with Counted("socket"):
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


async def stream(receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    left = asyncio.ensure_future(leaves(receive))
    with Counted("events"):
        while not left.done():
            await send({"type": "http.response.body", "body": EVENT, "more_body": True})
            await asyncio.sleep(EVERY_SECONDS)


async def leaves(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await websocket(receive, send)
    elif scope["type"] == "http" and scope["path"].startswith("/events/"):
        await stream(receive, send)
    elif scope["type"] == "http":
        body = page(scope["path"])
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


ready()
