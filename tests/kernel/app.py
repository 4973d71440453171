"""The application of the emulated machines: few imports, since there they are compiled again at each boot.

In: READY_FILE (each worker appends its PID when it has loaded this module). Out: `/fast`, `/sleep/MS`, `/cpu/MS` (of this thread's own
CPU time), each with a few bytes; a path may go on with a number, which is only logged.
"""

import os
import time


def compute(milliseconds):
    end = time.thread_time_ns() + milliseconds * 1_000_000
    value = 1
    while time.thread_time_ns() < end:
        for _ in range(300):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF


def app(environ, start_response):
    what, *rest = environ["PATH_INFO"].strip("/").split("/")
    if what == "sleep":
        time.sleep(int(rest[0]) / 1000)
    elif what == "cpu":
        compute(int(rest[0]))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"hello\n"]


if os.environ.get("READY_FILE"):
    ready = os.open(os.environ["READY_FILE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(ready, b"%d\n" % os.getpid())
    os.close(ready)
