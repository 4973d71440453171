"""An ASGI application under a witness that sees when the loop runs the coroutine of each request: one JSON line for each.

In, from the environment: what the application takes, STEPS_OF (its module: `asgi_app` or `starlette_app`), WITNESS_FILE (the file to
append to). Out: `application`. A line holds by CLOCK_MONOTONIC `steps` (begin and end of each stretch in which the coroutine ran; between
them the loop had it), `sleeps` (called, and when its timer was due) and `turns` (the lock of `/turn` asked for, and got).
"""

import contextvars
import importlib
import os
import time

import asgi_app
from witness import append, stepped

LINE = contextvars.ContextVar("line", default=None)


async def noted_sleep(milliseconds, sleep=asgi_app.sleep):
    line = LINE.get()
    if line is not None:
        called_ns = time.monotonic_ns()
        line["sleeps"].append((called_ns, called_ns + int(milliseconds * 1_000_000)))
    await sleep(milliseconds)


class NotedLock:
    """A lock that tells how long who takes it has waited."""

    def __init__(self, lock):
        self.lock = lock

    async def __aenter__(self):
        called_ns = time.monotonic_ns()
        await self.lock.acquire()
        LINE.get()["turns"].append((called_ns, time.monotonic_ns()))

    async def __aexit__(self, *_):
        self.lock.release()


asgi_app.sleep = noted_sleep
asgi_app.TURN = NotedLock(asgi_app.TURN)
watched = importlib.import_module(os.environ["STEPS_OF"]).application


async def application(scope, receive, send):
    if scope["type"] != "http":
        await watched(scope, receive, send)
        return
    line = {"id": scope["path"].rsplit("/", 1)[-1], "steps": [], "sleeps": [], "turns": []}
    LINE.set(line)
    try:
        await stepped(watched(scope, receive, send), line["steps"])
    finally:
        append(os.environ["WITNESS_FILE"], [line])
