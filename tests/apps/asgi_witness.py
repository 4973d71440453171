"""The eyes of a witness on an ASGI application, around whatever framework runs it.

In, from the environment: REQUEST_LOG, the file to append to. Out: `witnessed`, which wraps an application and writes a line
for each request as `witnessed.py` does. `start_ns` is when the server calls the application, `returned_ns` when the answer begins, `end_ns`
when the server has taken the last byte that the client waits for: what the application still tidies up is no part of the
answer. `tid` is the loop's thread.
"""

import os
import threading
import time

from witness import log


def begun(scope):
    """The line of a request that begins now."""
    return {
        "method": scope["method"],
        "path": scope["path"],
        "status": 500,
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "start_ns": time.monotonic_ns(),
        "returned_ns": None,
        "end_ns": None,
    }


class Answer:
    """How much of an answer the server has taken."""

    def __init__(self, line):
        self.line = line
        self.left = None

    def takes(self, message):
        """Whether the answer is whole with this message."""
        if message["type"] == "http.response.start":
            headers = {name.lower(): value for name, value in message.get("headers", [])}
            has_body = self.line["method"] != "HEAD" and message["status"] not in (204, 304)
            self.line["status"] = message["status"]
            self.line["returned_ns"] = time.monotonic_ns()
            self.left = int(headers.get(b"content-length", -1)) if has_body else 0
            return self.left == 0
        if self.left > 0:
            self.left -= min(self.left, len(message.get("body", b"")))
            return self.left == 0
        return not message.get("more_body")


def witnessed(application):
    """The application, which leaves a line for each request."""

    async def seen(scope, receive, send):
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        line = begun(scope)
        answer = Answer(line)

        async def pass_on(message):
            is_whole = answer.takes(message)
            await send(message)
            if is_whole and line["end_ns"] is None:
                line["end_ns"] = time.monotonic_ns()

        try:
            await application(scope, receive, pass_on)
        finally:
            log(line)

    return seen
