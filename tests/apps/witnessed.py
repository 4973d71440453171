"""`demo_app` under the eyes of a witness that needs nothing of the server: one JSON line for each request.

In, from the environment: what `demo_app` takes, and REQUEST_LOG, the file to append to. Out: `app`, which answers as
`demo_app` does. A line holds `method`, `path`, `status`, `pid`, `tid`, and by CLOCK_MONOTONIC `start_ns` (the application
is called), `called_ns` by the wall clock at the same moment, `request_start` (the header X-Request-Start, where there is
one), `returned_ns` (it has returned the response's iterable) and `end_ns` (the server closes that). Where the
application raises, the server answers by itself afterwards: the latter two are null then.
"""

import json
import os
import threading
import time

import demo_app

LOG = os.environ.get("REQUEST_LOG")


def write(line):
    # One write to a descriptor opened for appending keeps lines of several processes whole.
    descriptor = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, (json.dumps(line) + "\n").encode())
    finally:
        os.close(descriptor)


class Response:
    """The application's iterable; its end is the request's."""

    def __init__(self, line, parts):
        self.line = line
        self.parts = parts
        self.iterator = iter(parts)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.iterator)

    def close(self):
        self.line["end_ns"] = time.monotonic_ns()
        if hasattr(self.parts, "close"):
            self.parts.close()
        write(self.line)


def app(environ, start_response):
    line = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "status": 500,
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "start_ns": time.monotonic_ns(),
        "called_ns": time.time_ns(),
        "request_start": environ.get("HTTP_X_REQUEST_START"),
        "returned_ns": None,
        "end_ns": None,
    }

    def start(status, headers, *exc_info):
        line["status"] = int(status.split()[0])
        return start_response(status, headers, *exc_info)

    try:
        parts = demo_app.app(environ, start)
        line["returned_ns"] = time.monotonic_ns()
        return Response(line, parts)
    except BaseException:
        write(line)
        raise
