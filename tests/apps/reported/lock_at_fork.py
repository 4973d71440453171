"""A thread that begins at import holds a lock nearly always: who is forked meanwhile has the lock and not the thread.

In, from the environment: AFTER_FORK (the thread begins in each process of its own). `counted/ID` takes the lock. Out: `app`.
"""

import os
import threading
import time

from witness import ready

LOCK = threading.Lock()
COUNTS = {"requests": 0}


def export():
    while True:
        with LOCK:
            time.sleep(0.1)
        time.sleep(0.002)


def begin():
    threading.Thread(target=export, name="export", daemon=True).start()


if os.environ.get("AFTER_FORK"):
    os.register_at_fork(after_in_child=begin)
else:
    begin()
    # Until it has the lock.
    time.sleep(0.05)


def app(environ, start_response):
    if environ["PATH_INFO"].startswith("/counted"):
        with LOCK:
            COUNTS["requests"] += 1
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


ready()
