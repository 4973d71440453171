"""An application whose parts compute, each with its thread's own clock around it.

`/report` computes in three functions, `/light` in one; `/truth` has the seconds of each so far, by the path.
"""

import hashlib
import json
import threading
import time

from witness import ready

DOCUMENT = {str(number): list(range(20)) for number in range(200)}
BLOB = b"x" * 400_000
LOCK = threading.Lock()
SECONDS = {}


def noted(part):
    def run(path):
        begun = time.thread_time()
        part()
        spent = time.thread_time() - begun
        with LOCK:
            of = SECONDS.setdefault(path, {})
            of[part.__name__] = of.get(part.__name__, 0) + spent

    return run


@noted
def in_json():
    json.dumps(DOCUMENT)


@noted
def in_digest():
    hashlib.sha256(BLOB).digest()


@noted
def in_loop():
    total = 0
    for number in range(20_000):
        total += number * number


def app(environ, start_response):
    # Clients number their requests.
    path = "/" + environ["PATH_INFO"].split("/")[1]
    body = b"done"
    if path == "/truth":
        with LOCK:
            body = json.dumps(SECONDS).encode()
    elif path == "/report":
        for part in (in_json, in_digest, in_loop):
            part(path)
    else:
        in_loop(path)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


ready()
