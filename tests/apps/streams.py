"""Routes whose responses are sent in pieces, of no length that their head says; each leaves a line when it is over.

In, from the environment: BACKEND_ADDRESS, and WITNESS_FILE, the file to append to. Out: the pieces, for WSGI (`pieces`) and for ASGI
(`pieces_of_loop`). A line holds the request's `id` (the last segment of its path), and by CLOCK_MONOTONIC `start_ns` (it begins), `end_ns`
(its last piece is ready), `slept_ns` and `asked_ns` (in sleeps, and in questions to the back end).

/drip/COUNT/MS/ID   sleeps for MS before each piece but the first
/relay/COUNT/MS/ID  asks the back end for MS instead
"""

import asyncio
import json
import os
import time

ROUTES = {"drip", "relay"}


class Line:
    """What one request notes of itself."""

    def __init__(self, unique):
        self.noted = {"id": unique, "start_ns": time.monotonic_ns(), "slept_ns": 0, "asked_ns": 0}
        self.before_ns = 0

    def waits(self):
        self.before_ns = time.monotonic_ns()

    def has_waited(self, route):
        self.noted["slept_ns" if route == "drip" else "asked_ns"] += time.monotonic_ns() - self.before_ns

    def gives(self, number):
        self.noted["end_ns"] = time.monotonic_ns()
        return b"piece %d\n" % number

    def ends(self):
        # One write to a descriptor opened for appending keeps lines of several processes whole.
        descriptor = os.open(os.environ["WITNESS_FILE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, (json.dumps(self.noted) + "\n").encode())
        finally:
            os.close(descriptor)


def pieces(route, count, milliseconds, unique, ask_backend):
    """The pieces, where each wait blocks who sends them."""
    line = Line(unique)
    try:
        for number in range(int(count)):
            if number:
                line.waits()
                if route == "drip":
                    time.sleep(float(milliseconds) / 1000)
                else:
                    ask_backend(float(milliseconds))
                line.has_waited(route)
            yield line.gives(number)
    finally:
        line.ends()


async def pieces_of_loop(route, count, milliseconds, unique, ask_backend):
    """The pieces, where each wait lets others run."""
    line = Line(unique)
    try:
        for number in range(int(count)):
            if number:
                line.waits()
                if route == "drip":
                    await asyncio.sleep(float(milliseconds) / 1000)
                else:
                    await ask_backend(float(milliseconds))
                line.has_waited(route)
            yield line.gives(number)
    finally:
        line.ends()
