"""An ASGI application (standard library only) whose routes each spend their time in one known way.

In, from the environment: BACKEND_ADDRESS (host:port of `backend.py`), READY_FILE (each worker appends its PID when it has
loaded this module), REQUEST_LOG (one line for each request, as `witnessed` writes them). Out: `application`. A route may be
followed by any unique id, which is only logged: `/fast/17`.

/fast          a few bytes at once                      /sleep/MS      asyncio.sleep
/cpu           pure Python, about 5 ms                  /block/MS      time.sleep: blocks the event loop
/compute/MS    pure Python for so long
/backend       waits 20 ms for the back end             /pooled        20 ms in a thread of the loop's default pool
/upload        reads the body                           /download      16 MB in one piece
/stream        five chunks of unknown total length      /missing 404
/mixed         back end, computing, sleep               /empty 204
/error         an exception                             /unchanged 304
/turn/MS       asks the back end, one request at a time: the others wait for its lock
/threads       computes 10 ms in each of two threads of the loop's default pool
/gather/MS     three tasks of its own at once: one sleeps, two ask the back end

The routes of `streams.py` answer in pieces.
"""

import asyncio
import os
import threading
import time

import streams
from asgi_witness import begun
from witness import log, ready

DOWNLOAD = b"x" * (16 * 1024 * 1024)


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
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"%g\n" % milliseconds)
    await reader.readline()
    writer.close()


async def sleep(milliseconds):
    await asyncio.sleep(milliseconds / 1000)


TURN = asyncio.Lock()


async def take_turn(milliseconds):
    async with TURN:
        await ask_backend(milliseconds)


async def read_body(receive):
    total = 0
    while True:
        message = await receive()
        total += len(message.get("body", b""))
        if not message.get("more_body"):
            return total


async def respond(path, receive):
    """The status and the chunks for a path."""
    route, *rest = path.strip("/").split("/")
    milliseconds = float(rest[0]) if rest else 20.0
    if route in ("", "fast"):
        return 200, [b"hello\n"]
    if route == "sleep":
        await sleep(milliseconds)
        return 200, [b"slept\n"]
    if route == "block":
        time.sleep(milliseconds / 1000)
        return 200, [b"blocked\n"]
    if route in ("cpu", "compute"):
        compute(5 if route == "cpu" else milliseconds)
        return 200, [b"computed\n"]
    if route == "backend":
        await ask_backend(20)
        return 200, [b"answered\n"]
    if route == "mixed":
        await ask_backend(8)
        compute(2)
        await sleep(2)
        return 200, [b"mixed\n"]
    if route == "turn":
        await take_turn(milliseconds)
        return 200, [b"took its turn\n"]
    if route == "empty":
        return 204, []
    if route == "unchanged":
        return 304, []
    if route == "error":
        raise RuntimeError("asked for")
    if route == "pooled":
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.02)
        return 200, [b"pooled\n"]
    if route == "threads":
        run = asyncio.get_running_loop().run_in_executor
        await asyncio.gather(run(None, compute, 10), run(None, compute, 10))
        return 200, [b"computed\n"]
    if route == "gather":
        await asyncio.gather(sleep(milliseconds / 2), ask_backend(milliseconds / 2), ask_backend(milliseconds))
        return 200, [b"gathered\n"]
    if route == "upload":
        return 200, [b"%d\n" % await read_body(receive)]
    if route == "download":
        return 200, [DOWNLOAD]
    if route == "stream":
        return 200, [b"chunk\n"] * 5
    return 404, [b"missing\n"]


async def stream(scope, send, line):
    route, *rest = scope["path"].strip("/").split("/")
    line["status"] = 200
    await send({"type": "http.response.start", "status": 200, "headers": []})
    async for piece in streams.pieces_of_loop(route, *rest, ask_backend):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def answer(scope, receive, send, line):
    if scope["path"].split("/")[1] in streams.ROUTES:
        await stream(scope, send, line)
        return
    status, chunks = await respond(scope["path"], receive)
    line["status"] = status
    line["returned_ns"] = time.monotonic_ns()
    headers = [(b"content-type", b"text/plain")]
    is_sized = len(chunks) == 1
    if is_sized:
        headers.append((b"content-length", b"%d" % len(chunks[0])))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if scope["method"] == "HEAD":
        chunks = []
    for number, chunk in enumerate(chunks, 1):
        more = not (is_sized and number == len(chunks))
        await send({"type": "http.response.body", "body": chunk, "more_body": more})
    if not (is_sized and chunks):
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    line = begun(scope)
    try:
        await answer(scope, receive, send, line)
        line["end_ns"] = time.monotonic_ns()
    finally:
        if os.environ.get("REQUEST_LOG"):
            log(line)


ready()
