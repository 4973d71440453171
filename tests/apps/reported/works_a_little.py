"""A little sleep and a little computing, or one of both.

In, from the environment: SLEEP_MS, and LOOPS of computing (20,000 are a millisecond or so). Out: `app`.
"""

import os
import time

from witness import ready

SLEEP_SECONDS = float(os.environ.get("SLEEP_MS", "0")) / 1000
LOOPS = int(os.environ.get("LOOPS", "20000"))


def app(environ, start_response):
    if SLEEP_SECONDS:
        time.sleep(SLEEP_SECONDS)
    sum(number * number for number in range(LOOPS))
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


ready()
