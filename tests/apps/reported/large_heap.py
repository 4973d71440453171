"""Keeps a million objects: a full garbage collection takes 100 ms and the interpreter lock, in whichever thread has one object too many.

In, from the environment: FROZEN (what is there after the import is never looked at again). `fill/ID` makes objects that live for a while. Out: `app`.
"""

import collections
import gc
import os

from witness import ready

KEPT = [{"number": number, "of": [number]} for number in range(500_000)]
CACHE = collections.deque(maxlen=200_000)
NEW = 8_000

if os.environ.get("FROZEN"):
    gc.collect()
    gc.freeze()
    CACHE = collections.deque(maxlen=20_000)


def app(environ, start_response):
    if environ["PATH_INFO"].startswith("/fill"):
        CACHE.extend({"number": number, "of": [number]} for number in range(NEW))
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


ready()
