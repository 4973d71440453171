"""A WSGI application whose routes are composed: each waits for one thing, its leaf, through hops of the process itself.

In, from the environment: COMPOSED, a JSON object. `routes` has, by the first segment of a path, `hops` (from the outside to the inside),
`leaf` (null: none) and `every` (who goes through to the leaf: each so-manieth request). `base` is what every request does before:
`back_end_ms` and `cpu_ms`. NOTES_DIRECTORY is where each process maps its notes, on a file system in memory. SELF_ADDRESS is where this server listens.
BACKEND_ADDRESS is the back end of the base work. Out: `app`. A path ends in the request's unique number.

A hop is `[kind, number or path]`: see `HOPS`. A leaf is `[kind, …]`: see `LEAVES`. What a route waits for is made when the module is loaded.
"""

import concurrent.futures
import fcntl
import functools
import hashlib
import json
import mmap
import os
import queue
import socket
import sqlite3
import subprocess
import threading
import time

from notes import ENTER, GOT, LEAVE, Notes
from witness import ready

PLAN = json.loads(os.environ["COMPOSED"])
NOTES = Notes(os.environ["NOTES_DIRECTORY"])
# Steps of a request in its notes: 0, 1, 2 are its hops.
LEAF, BASE_CPU, BASE_BACK_END, REQUEST = 8, 9, 10, 15
# The number of a request that this server sends to itself has this bit beside the number of the request that it is sent for.
INNER = 1 << 40
DOWNLOAD = b"d" * (16 * 1024 * 1024)
PIPE_BYTES = b"p" * 65536
HASHED = b"h" * (1024 * 1024)
READ_BYTES = 8 * 1024 * 1024


def compute(milliseconds):
    """Burns this thread's own CPU time in Python."""
    end, value = time.thread_time_ns() + int(milliseconds * 1_000_000), 1
    while time.thread_time_ns() < end:
        for _ in range(2000):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF


def hash_buffers(milliseconds):
    """The same in C code that gives the interpreter lock up."""
    end = time.thread_time_ns() + int(milliseconds * 1_000_000)
    while time.thread_time_ns() < end:
        hashlib.sha256(HASHED).digest()


def ask(address, milliseconds):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=70) as connection:
        # Without a timeout recv is one blocking call, not poll and recv.
        connection.settimeout(None)
        connection.sendall(b"%g\n" % milliseconds)
        while not connection.recv(4096).endswith(b"\n"):
            pass


def sleep(milliseconds):
    time.sleep(milliseconds / 1000)


def wait_for_reader(path):
    """Opens a named pipe for reading: waits until somebody opens it for writing."""
    os.close(os.open(path, os.O_RDONLY))


BUFFER = threading.local()


def read_disk(path, milliseconds):
    """Reads a file past the page cache, until the time is over: nearly all of that is waiting for its disk."""
    if not hasattr(BUFFER, "pages"):
        BUFFER.pages = mmap.mmap(-1, READ_BYTES)
    end = time.monotonic_ns() + int(milliseconds * 1_000_000)
    descriptor, position = os.open(path, os.O_RDONLY | os.O_DIRECT), 0
    try:
        while time.monotonic_ns() < end:
            position = position + READ_BYTES if os.preadv(descriptor, [BUFFER.pages], position) else 0
    finally:
        os.close(descriptor)


def lock_file(path):
    """Waits for a lock that somebody else has again and again."""
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def write_database(path):
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    finally:
        connection.close()


def run_child(milliseconds):
    subprocess.run(["sleep", f"{milliseconds / 1000}"], check=True)


@functools.cache
def pipe_to(path):
    return os.open(path, os.O_WRONLY)


def fill_pipe(path):
    """Writes as much as a pipe holds: waits until somebody reads."""
    os.write(pipe_to(path), PIPE_BYTES)


class Forgotten:
    """A lock that is released each time, until a thread takes it and ends without."""

    def __init__(self, after):
        self.lock, self.left = threading.Lock(), after

    def __call__(self):
        self.left -= 1
        if self.left == 0:
            taker = threading.Thread(target=self.lock.acquire)
            taker.start()
            taker.join()
        with self.lock:
            pass


LEAVES = {
    "back_end": ask,
    "sleep": sleep,
    "fifo": wait_for_reader,
    "disk": read_disk,
    "file_lock": lock_file,
    "sqlite": write_database,
    "child": run_child,
    "compute": compute,
    "hash": hash_buffers,
    "full_pipe": fill_pipe,
}


def leaf_of(leaf):
    """A function of a request's number."""
    kind, arguments = leaf[0], leaf[1:]
    work = Forgotten(*arguments) if kind == "forgotten" else functools.partial(LEAVES[kind], *arguments)

    def run(number):
        NOTES(number, LEAF, ENTER)
        work()
        NOTES(number, LEAF, LEAVE)

    return run


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
    "pipe": by_pipe,
    "itself": by_itself,
}


def composed(route):
    """hop(hop(leaf)), as a function of a request's number."""
    every = route.get("every", 1)
    work = leaf_of(route["leaf"]) if route["leaf"] else lambda _: None

    def run(number, inmost=work):
        if number % every == 0:
            inmost(number)

    for step, (kind, argument) in reversed(list(enumerate(route["hops"]))):
        run = HOPS[kind](argument, step, run)
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

    def __init__(self, number, body):
        self.number, self.body = number, body
        if body is DOWNLOAD:
            NOTES(number, LEAF, ENTER)

    def __iter__(self):
        yield self.body

    def close(self):
        if self.body is DOWNLOAD:
            NOTES(self.number, LEAF, LEAVE)
        NOTES(self.number, REQUEST, LEAVE)


def app(environ, start_response):
    route, *rest = environ["PATH_INFO"].strip("/").split("/")
    number = int(rest[-1]) if rest and rest[-1].isdigit() else 0
    NOTES(number, REQUEST, ENTER)
    body = b"done\n"
    if route == "inner":
        INNER_WORK[int(rest[0])](number)
    elif route == "download":
        body = DOWNLOAD
    else:
        do_base_work(number)
        if route in ROUTES:
            ROUTES[route](number)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return Response(number, body)


ready()
