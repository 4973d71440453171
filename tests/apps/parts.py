"""An application whose parts compute or wait, each with a clock around it.

`/report` computes in three functions, `/light` in one and `/long` in the same for long; clocks are those of its
threads. `/queries` waits in three functions, `/nap` in one. `/garbage` collects beside a large heap. `/truth` has the
seconds of each so far, by the path, and those in collections as what `collections` computes.
"""

import gc
import hashlib
import json
import select
import threading
import time

from witness import ready

DOCUMENT = {str(number): list(range(20)) for number in range(200)}
BLOB = b"x" * 400_000
LOCK = threading.Lock()
SECONDS = {}
HEAP = []


def noted(clock):
    def of(part):
        def run(path):
            begun = clock()
            part()
            spent = clock() - begun
            with LOCK:
                of = SECONDS.setdefault(path, {})
                of[part.__name__] = of.get(part.__name__, 0) + spent

        return run

    return of


computes = noted(time.thread_time)
waits = noted(time.monotonic)


@computes
def in_json():
    json.dumps(DOCUMENT)


@computes
def in_digest():
    hashlib.sha256(BLOB).digest()


@computes
def in_loop():
    total = 0
    for number in range(20_000):
        total += number * number


@computes
def in_garbage():
    with LOCK:
        if not HEAP:
            # From here on only `in_garbage` collects, so its clock has all of it.
            gc.disable()
            HEAP.extend([number] for number in range(150_000))
    rows = [[number] for number in range(60_000)]
    begun = time.thread_time()
    gc.collect()
    spent = time.thread_time() - begun
    with LOCK:
        of = SECONDS.setdefault("collections", {})
        of["/garbage"] = of.get("/garbage", 0) + spent
    rows.clear()


@waits
def in_short_sleeps():
    for _ in range(40):
        time.sleep(0.0005)


@waits
def in_poll():
    select.poll().poll(4)


@waits
def in_long_sleep():
    time.sleep(0.016)


def app(environ, start_response):
    # Clients number their requests.
    path = "/" + environ["PATH_INFO"].split("/")[1]
    body = b"done"
    if path == "/truth":
        with LOCK:
            body = json.dumps(SECONDS).encode()
    elif path == "/garbage":
        in_garbage(path)
    elif path == "/report":
        for part in (in_json, in_digest, in_loop):
            part(path)
    elif path == "/queries":
        for part in (in_short_sleeps, in_poll, in_long_sleep):
            part(path)
    elif path == "/long":
        for _ in range(600):
            in_loop(path)
    elif path == "/nap":
        in_long_sleep(path)
    else:
        in_loop(path)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


ready()
