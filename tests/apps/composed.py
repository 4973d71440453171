"""A WSGI application whose routes are composed: each waits for one thing, its leaf, through hops of the process itself.

In, from the environment: COMPOSED, a JSON object. `routes` has, by the first segment of a path, `hops` (from the outside to the inside),
`leaf` (null: none), and who meets that when, as `composed_meetings.py` has it. `base` is what every request does before:
`back_end_ms` and `cpu_ms`. Of `errors_every` requests one is answered with 500. After `exit_after` of them a process asks
itself to end, and it takes `begin_ms` to load. NOTES_DIRECTORY is where each process maps its notes, on a file system in memory. SELF_ADDRESS is where this server listens.
BACKEND_ADDRESS is the back end of the base work. Out: `app`. A path ends in the request's unique number.

A hop is `[kind, number or path]`: see `HOPS`. A leaf is `[kind, …]`: see `composed_leaves.py`. What a route waits for is made when the module is loaded.
Beside these routes there are `download`, which has a long body, `stream`, whose body goes on until the client leaves, and `upgrade`, where
the connection becomes another protocol's (under gunicorn).
"""

import concurrent.futures
import fcntl
import importlib.abc
import importlib.util
import itertools
import json
import logging
import os
import queue
import signal
import socket
import struct
import sys
import threading
import time

from composed_leaves import ask, compute, leaf_of
from composed_meetings import CLOCK, Meetings, begin
from notes import ENTER, GOT, LEAVE, Notes
from witness import ready

PLAN = json.loads(os.environ["COMPOSED"])
NOTES = Notes(os.environ["NOTES_DIRECTORY"])
# Steps of a request in its notes: 0, 1, 2 are its hops.
LEAF, BASE_CPU, BASE_BACK_END, DECOY, REQUEST = 8, 9, 10, 11, 15
# The number of a request that this server sends to itself has this bit beside the number of the request that it is sent for.
INNER = 1 << 40
DOWNLOAD = b"d" * (16 * 1024 * 1024)
# Numbers of requests that do not end before their client leaves have this bit.
ENDLESS = 1 << 41
STREAM_PAUSE_SECONDS = 0.2
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def noted(work, step=LEAF):
    """A leaf as a function of a request's number."""

    def run(number):
        NOTES(number, step, ENTER)
        work()
        NOTES(number, step, LEAVE)

    return run


def whole(run):
    """A turn of who is no request."""

    def turn(number):
        NOTES(number, REQUEST, ENTER)
        run(number)
        NOTES(number, REQUEST, LEAVE)

    return turn


def under(lock, step, inner):
    """Within whatever is taken by `with`."""

    def run(number):
        NOTES(number, step, ENTER)
        with lock:
            NOTES(number, step, GOT)
            inner(number)
        NOTES(number, step, LEAVE)

    return run


def in_pool(threads, step, inner):
    """In a thread of a pool, whose result the request waits for."""
    pool = concurrent.futures.ThreadPoolExecutor(threads)

    def task(number):
        NOTES(number, step, GOT)
        inner(number)

    def run(number):
        NOTES(number, step, ENTER)
        pool.submit(task, number).result()
        NOTES(number, step, LEAVE)

    return run


def by_consumer(_, step, inner):
    """In the one thread that takes from a queue."""
    tasks = queue.Queue()

    def consume():
        while True:
            number, done = tasks.get()
            NOTES(number, step, GOT)
            inner(number)
            done.set()

    threading.Thread(target=consume, daemon=True, name="consumer").start()

    def run(number):
        done = threading.Event()
        NOTES(number, step, ENTER)
        tasks.put((number, done))
        done.wait()
        NOTES(number, step, LEAVE)

    return run


def by_thread(_, step, inner):
    """In a thread of its own, which sets an event."""

    def work(number, done):
        NOTES(number, step, GOT)
        inner(number)
        done.set()

    def run(number):
        done = threading.Event()
        NOTES(number, step, ENTER)
        threading.Thread(target=work, args=(number, done), daemon=True).start()
        done.wait()
        NOTES(number, step, LEAVE)

    return run


def by_file_lock(path, step, inner):
    """Under a lock on a file, which the workers share."""

    def run(number):
        with open(path, "rb") as file:
            NOTES(number, step, ENTER)
            fcntl.flock(file, fcntl.LOCK_EX)
            NOTES(number, step, GOT)
            inner(number)
        NOTES(number, step, LEAVE)

    return run


# Locks of one opened file, which exclude threads as well as processes; those of a process only exclude others.
RECORD_LOCKS = {"opened": fcntl.F_OFD_SETLKW, "process": fcntl.F_SETLKW}


def by_record_lock(argument, step, inner):
    """Under a lock by `fcntl` on a file, of one of the two kinds."""
    path, kind = argument
    whole = [struct.pack("hhqqi", what, os.SEEK_SET, 0, 0, 0) for what in (fcntl.F_WRLCK, fcntl.F_UNLCK)]

    def run(number):
        with open(path, "r+b") as file:
            NOTES(number, step, ENTER)
            fcntl.fcntl(file, RECORD_LOCKS[kind], whole[0])
            NOTES(number, step, GOT)
            inner(number)
            fcntl.fcntl(file, RECORD_LOCKS[kind], whole[1])
        NOTES(number, step, LEAVE)

    return run


def by_pipe(_, step, inner):
    """In a helper thread, told by a pipe, which answers by another."""
    told, tell = os.pipe()

    def help_out():
        while True:
            task = os.read(told, 16)
            number, answer = int.from_bytes(task[:8], "little"), int.from_bytes(task[8:], "little")
            NOTES(number, step, GOT)
            inner(number)
            os.write(answer, b"!")

    threading.Thread(target=help_out, daemon=True, name="helper").start()

    def run(number):
        answered, answer = os.pipe()
        NOTES(number, step, ENTER)
        os.write(tell, number.to_bytes(8, "little") + answer.to_bytes(8, "little"))
        os.read(answered, 1)
        NOTES(number, step, LEAVE)
        os.close(answered)
        os.close(answer)

    return run


def by_log(_, step, inner):
    """In a logging handler, under the lock of that."""

    class Handler(logging.Handler):
        def emit(self, record):
            NOTES(record.number, step, GOT)
            inner(record.number)

    logger = logging.Logger("composed")
    logger.addHandler(Handler())

    def run(number):
        NOTES(number, step, ENTER)
        logger.warning("served", extra={"number": number})
        NOTES(number, step, LEAVE)

    return run


class Late(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that are imported by requests, one for each time that the leaf is met."""

    def __init__(self, step, inner):
        self.step, self.inner, self.numbers = step, inner, threading.local()

    def find_spec(self, name, _path=None, _target=None):
        return importlib.util.spec_from_loader(name, self) if name.startswith("composed_late_") else None

    def create_module(self, _):
        return None

    def exec_module(self, _):
        NOTES(self.numbers.own, self.step, GOT)
        self.inner(self.numbers.own)


def by_import(meetings, step, inner):
    """In the body of a module, which the first request imports and the others wait for."""
    late = Late(step, inner)
    sys.meta_path.insert(0, late)

    def run(number):
        late.numbers.own = number
        NOTES(number, step, ENTER)
        importlib.import_module(f"composed_late_{meetings.turn()}")
        NOTES(number, step, LEAVE)

    return run


# What requests to oneself do, by step.
INNER_WORK = {}


def by_itself(_, step, inner):
    """In a request that this server sends to itself."""
    host, port = os.environ["SELF_ADDRESS"].rsplit(":", 1)
    INNER_WORK[step] = inner

    def run(number):
        NOTES(number, step, ENTER)
        with socket.create_connection((host, int(port)), timeout=70) as connection:
            connection.settimeout(None)
            connection.sendall(b"GET /inner/%d/%d HTTP/1.0\r\nHost: self\r\n\r\n" % (step, number | INNER))
            while connection.recv(4096):
                pass
        NOTES(number, step, LEAVE)

    return run


HOPS = {
    "lock": lambda _, step, inner: under(threading.Lock(), step, inner),
    "rlock": lambda _, step, inner: under(threading.RLock(), step, inner),
    "semaphore": lambda count, step, inner: under(threading.Semaphore(count), step, inner),
    "executor": in_pool,
    "queue": by_consumer,
    "event": by_thread,
    "file_lock": by_file_lock,
    "record_lock": by_record_lock,
    "pipe": by_pipe,
    "log": by_log,
    "import": by_import,
    "itself": by_itself,
}


def composed(route):
    """hop(hop(leaf)), as a function of a request's number; who is no request goes there from now on."""
    meetings = Meetings(route)
    work = noted(leaf_of(route["leaf"]), route.get("step", LEAF)) if route["leaf"] else lambda _: None

    def run(number):
        if meetings(number):
            work(number)

    for step, (kind, argument) in reversed(list(enumerate(route["hops"]))):
        # What is imported is so once for each time that the leaf is met.
        run = HOPS[kind](meetings if kind == "import" else argument, step, run)
    begin(meetings, run, whole)
    return run


ROUTES = {name: composed(route) for name, route in PLAN["routes"].items()}


def do_base_work(number):
    base = PLAN["base"]
    if base["cpu_ms"]:
        NOTES(number, BASE_CPU, ENTER)
        compute(base["cpu_ms"])
        NOTES(number, BASE_CPU, LEAVE)
    if base["back_end_ms"]:
        NOTES(number, BASE_BACK_END, ENTER)
        ask(os.environ["BACKEND_ADDRESS"], base["back_end_ms"])
        NOTES(number, BASE_BACK_END, LEAVE)


class Response:
    """The body; its end is the request's. Who takes a long one is waited for meanwhile."""

    def __init__(self, number, body, is_leaf=False):
        self.number, self.body, self.is_leaf = number, body, is_leaf
        if is_leaf:
            NOTES(number, LEAF, ENTER)

    def __iter__(self):
        yield from self.body

    def close(self):
        if self.is_leaf:
            NOTES(self.number, LEAF, LEAVE)
        NOTES(self.number, REQUEST, LEAVE)


def events():
    """A part again and again."""
    while True:
        time.sleep(STREAM_PAUSE_SECONDS)
        yield b"data: x\n\n"


def upgrade(connection, number):
    """Serves another protocol until the client leaves, as libraries for WebSockets do: a thread of its own reads, the request's waits for that."""
    over = threading.Event()

    def read():
        while connection.recv(4096):
            pass
        over.set()

    connection.sendall(SWITCHING)
    NOTES(number, LEAF, ENTER)
    threading.Thread(target=read, daemon=True, name="reader").start()
    over.wait()
    NOTES(number, LEAF, LEAVE)
    NOTES(number, REQUEST, LEAVE)
    # There is no response: gunicorn closes the connection.
    raise StopIteration


def app(environ, start_response):
    route, *rest = environ["PATH_INFO"].strip("/").split("/")
    number = int(rest[-1]) if rest and rest[-1].isdigit() else 0
    NOTES(number, REQUEST, ENTER)
    CLOCK.begin()
    status, body = "200 OK", b"done\n"
    if route == "inner":
        INNER_WORK[int(rest[0])](number)
    elif route == "download":
        body = DOWNLOAD
    elif route == "upgrade":
        upgrade(environ["gunicorn.socket"], number)
    elif route == "stream":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return Response(number, events(), True)
    else:
        do_base_work(number)
        if route in ROUTES:
            ROUTES[route](number)
        if number % PLAN.get("errors_every", number + 1) == 0 < number:
            status = "500 Internal Server Error"
        if next(SERVED) == PLAN.get("exit_after"):
            os.kill(os.getpid(), signal.SIGTERM)
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return Response(number, [body], body is DOWNLOAD)


SERVED = itertools.count(1)
time.sleep(PLAN.get("begin_ms", 0) / 1000)
ready()
