"""The clocks of an application, and what it notes by them, whatever it is and whoever serves it.

In, from the environment: REQUEST_LOG (the file for `requests`), WITNESS_FILE (that for `Work`), READY_FILE (each process appends its PID
when it says `ready`). Out: JSON lines, each in one write to a file that is opened for appending, so that lines of several processes stay whole.
"""

import contextlib
import functools
import json
import os
import threading
import time
import types


def append(path, lines):
    if not path or not lines:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, "".join(json.dumps(line) + "\n" for line in lines).encode())
    finally:
        os.close(descriptor)


def log(line):
    """Notes one request."""
    append(os.environ.get("REQUEST_LOG"), [line])


@functools.cache
def ready():
    """Says that this process has loaded its application; once, however many modules of it say so."""
    path = os.environ.get("READY_FILE")
    if path:
        with open(path, "a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")


def run_queue_ns():
    """How long this thread has been runnable without a CPU, as the kernel counts it."""
    with open("/proc/thread-self/schedstat", "rb") as file:
        return int(file.read().split()[1])


def clocks():
    """This thread's clocks (wall, CPU, run queue) at one moment: read again where it lost its CPU in between."""
    queue = run_queue_ns()
    while True:
        wall, cpu = time.monotonic_ns(), time.thread_time_ns()
        before, queue = queue, run_queue_ns()
        if queue == before:
            return wall, cpu, queue


@types.coroutine
def stepped(coroutine, steps):
    """Runs a coroutine, and notes its steps."""
    go_on, argument = coroutine.send, None
    while True:
        began_ns = time.monotonic_ns()
        try:
            awaited = go_on(argument)
        except StopIteration as end:
            return end.value
        finally:
            steps.append((began_ns, time.monotonic_ns()))
        try:
            go_on, argument = coroutine.send, (yield awaited)
        except BaseException as error:  # Whatever is thrown in is the coroutine's.
            go_on, argument = coroutine.throw, error


class Work:
    """What one request did, by kind: how often, and how long by all clocks of its thread. A kind is done by one thread, one time after the other."""

    def __init__(self, unique):
        self.unique = unique
        self.kinds = {}

    @contextlib.contextmanager
    def of(self, kind):
        begun = clocks()
        try:
            yield
        finally:
            ended = clocks()
            line = self.kinds.setdefault(kind, {
                "id": self.unique, "kind": kind, "asked_ms": 0.0, "calls": 0,
                "pid": os.getpid(), "tid": threading.get_native_id(),
                "start_ns": begun[0], "end_ns": 0, "wall_ns": 0, "cpu_ns": 0, "run_queue_ns": 0,
            })
            line["calls"] += 1
            line["end_ns"] = ended[0]
            for name, before, after in zip(("wall_ns", "cpu_ns", "run_queue_ns"), begun, ended):
                line[name] += after - before

    def note(self):
        append(os.environ.get("WITNESS_FILE"), self.kinds.values())


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
        log(self.line)


def requests(application):
    """The application, which notes one line for each request: see `witnessed.py`."""

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
            parts = application(environ, start)
            line["returned_ns"] = time.monotonic_ns()
            return Response(line, parts)
        except BaseException:
            log(line)
            raise

    return app
