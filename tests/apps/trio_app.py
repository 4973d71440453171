"""An ASGI application on trio whose routes each spend their time in one known way, and which notes when each of its tasks ran: one JSON line for each request.

In, from the environment: BACKEND_ADDRESS (host:port of `backend.py`), READY_FILE (each worker appends its PID when it has loaded this module),
WITNESS_FILE (the file to append to). Out: `application`. A line holds the request's `id` (the last segment of its path), its `kind`, and by
CLOCK_MONOTONIC `steps` (begin and end of each stretch in which the task ran; between them the loop had it) and `waits` (begin and end of
each wait, as the task sees them: what it waits for at its end is its turn).

/fast/ID          a few bytes at once               /cpu/MS/ID       pure Python
/sleep/MS/ID      trio.sleep                        /backend/MS/ID   waits for the back end
/thread/MS/ID     time.sleep in a thread of trio's  /turn/MS/ID      asks the back end, one request at a time: the others wait for its lock
/twice/MS/ID      asks the back end, computes for 2 ms, sleeps
"""

import os
import time

import trio
from witness import append, ready, stepped


def compute(milliseconds):
    """Burns this thread's own CPU time."""
    end = time.thread_time_ns() + int(milliseconds * 1_000_000)
    value = 1
    while time.thread_time_ns() < end:
        for _ in range(1500):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF
    return value


async def ask_backend(milliseconds):
    host, port = os.environ["BACKEND_ADDRESS"].rsplit(":", 1)
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        await stream.send_all(b"%g\n" % milliseconds)
        answer = b""
        while not answer.endswith(b"\n"):
            answer += await stream.receive_some(100)


TURN = trio.Lock()


class Noted:
    """What one request notes of its waits."""

    def __init__(self, waits, kind):
        self.waits, self.kind = waits, kind

    def __enter__(self):
        self.begun_ns = time.monotonic_ns()

    def __exit__(self, *_):
        self.waits.append((self.kind, self.begun_ns, time.monotonic_ns()))


async def work(kind, milliseconds, waits):
    if kind == "cpu":
        compute(milliseconds)
    elif kind == "sleep":
        with Noted(waits, "sleep"):
            await trio.sleep(milliseconds / 1000)
    elif kind == "backend":
        with Noted(waits, "backend"):
            await ask_backend(milliseconds)
    elif kind == "thread":
        with Noted(waits, "thread"):
            await trio.to_thread.run_sync(time.sleep, milliseconds / 1000)
    elif kind == "turn":
        with Noted(waits, "turn"):
            await TURN.acquire()
        try:
            with Noted(waits, "backend"):
                await ask_backend(milliseconds)
        finally:
            TURN.release()
    elif kind == "twice":
        with Noted(waits, "backend"):
            await ask_backend(milliseconds)
        compute(2)
        with Noted(waits, "sleep"):
            await trio.sleep(milliseconds / 1000)


async def answer(scope, send, waits):
    kind, *rest = scope["path"].strip("/").split("/")
    await work(kind, float(rest[0]), waits)
    body = b"done\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def live(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    route = scope["path"].strip("/").split("/")
    line = {"id": route[-1], "kind": route[0], "steps": [], "waits": []}
    try:
        await stepped(answer(scope, send, line["waits"]), line["steps"])
    finally:
        append(os.environ["WITNESS_FILE"], [line])


ready()
