"""An application of FastAPI: plain functions in the framework's threads, coroutines on the loop, each with its witness.

In, from the environment: what `demo_app` and `asgi_witness` take. Out: `application`. The `/truth` routes of `demo_app` in the framework's
threads; `/twice/MS/ID`, a plain dependency and a plain function that sleep for MS each, one after the other; `/await/sleep/MS/ID` and `/await/backend/MS/ID` on the loop; `/fast/ID`, a coroutine that answers at once; `/computed/ID`, a plain function
that computes for 2 ms. What the coroutines of `/await` waited is a witness of `WITNESS_FILE` as those of `/truth` are, by the loop's thread.
"""

import asyncio
import os
import threading
import time

import asgi_app
import demo_app
from asgi_witness import witnessed
from fastapi import Depends, FastAPI
from witness import append

framework = FastAPI()


def note(kind, milliseconds, unique, start_ns, wall_ns):
    line = {
        "id": unique,
        "kind": kind,
        "asked_ms": milliseconds,
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "start_ns": start_ns,
        "end_ns": time.monotonic_ns(),
        "wall_ns": wall_ns,
        "cpu_ns": 0,
        "run_queue_ns": 0,
    }
    append(os.environ["WITNESS_FILE"], [line])


@framework.get("/fast/{unique}")
async def fast(unique: str):
    return "hello"


@framework.get("/computed/{unique}")
def computed(unique: str):
    asgi_app.compute(2)
    return "computed"


@framework.get("/truth/file/{unique}")
def truth_file(unique: str):
    demo_app.truth("file", 0, unique)
    return "done"


@framework.get("/truth/{kind}/{milliseconds}/{unique}")
def truth(kind: str, milliseconds: float, unique: str):
    demo_app.truth(kind, milliseconds, unique)
    return "done"


@framework.get("/await/{kind}/{milliseconds}/{unique}")
async def wait(kind: str, milliseconds: float, unique: str):
    start_ns = time.monotonic_ns()
    if kind == "sleep":
        await asyncio.sleep(milliseconds / 1000)
    else:
        await asgi_app.ask_backend(milliseconds)
    note("await-" + kind, milliseconds, unique, start_ns, time.monotonic_ns() - start_ns)
    return "done"


def half(milliseconds: float):
    start_ns = time.monotonic_ns()
    demo_app.sleep(milliseconds)
    return start_ns, time.monotonic_ns() - start_ns


@framework.get("/twice/{milliseconds}/{unique}")
def twice(milliseconds: float, unique: str, first: tuple = Depends(half)):
    _, second_ns = half(milliseconds)
    start_ns, first_ns = first
    note("twice", 2 * milliseconds, unique, start_ns, first_ns + second_ns)
    return "done"


application = witnessed(framework)
