"""What a request of `composed.py` waits for in the end: one function each.

In: what the plan says of the leaf. Out: `LEAVES`, functions that wait; `leaf_of` makes one that is ready to be called.
"""

import contextlib
import ctypes
import fcntl
import functools
import gc
import hashlib
import mmap
import os
import socket
import sqlite3
import subprocess
import threading
import time

PIPE_BYTES = b"p" * 65536
HASHED = b"h" * (1024 * 1024)
READ_BYTES = 8 * 1024 * 1024
WRITTEN = b"w" * 4096
# More than the buffers of both ends of a connection hold.
UPLOAD = b"u" * (64 * 1024 * 1024)
# More than a pipe holds.
CHATTER_BYTES = 1024 * 1024


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


UNSORTED = [place * 7919 % 100_003 for place in range(50_000)]


def sort(milliseconds):
    """The same in C code that keeps it."""
    end = time.thread_time_ns() + int(milliseconds * 1_000_000)
    while time.thread_time_ns() < end:
        sorted(UNSORTED)


@functools.cache
def objects():
    """What the collector goes through."""
    return [[place] for place in range(200_000)]


def collect(milliseconds):
    """Collects garbage, of which there is none."""
    objects()
    end = time.thread_time_ns() + int(milliseconds * 1_000_000)
    while time.thread_time_ns() < end:
        gc.collect()


def sleep_with_lock(milliseconds):
    """Sleeps in C code that keeps the interpreter lock."""
    INTERPRETER.usleep(int(milliseconds * 1000))


def connected(address):
    """A connection to `host:port` or `unix:PATH`. Without a timeout each wait is one blocking call, not poll and another."""
    if address.startswith("unix:"):
        connection, peer = socket.socket(socket.AF_UNIX), address.removeprefix("unix:")
    else:
        host, port = address.rsplit(":", 1)
        connection, peer = socket.socket(), (host, int(port))
    try:
        connection.connect(peer)
    except BaseException:
        connection.close()
        raise
    return connection


def ask(address, milliseconds, how=""):
    """Waits for an answer of `backend.py`; `how` stands before the number."""
    with connected(address) as connection:
        connection.sendall(b"%s%g\n" % (how.encode(), milliseconds))
        while not connection.recv(4096).endswith(b"\n"):
            pass


def connect(address):
    """Connects, and no more."""
    connected(address).close()


def upload(address):
    """Sends more than anybody takes who does not read."""
    with connected(address) as connection:
        connection.sendall(UPLOAD)


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


@functools.cache
def file_to_write(path):
    return os.open(path, os.O_WRONLY | os.O_CREAT)


def sync(path):
    """Writes a little, and waits until the disk has it."""
    os.pwrite(file_to_write(path), WRITTEN, 0)
    os.fdatasync(file_to_write(path))


def touch(path):
    """Sets a file's times by its path, as a heartbeat does."""
    os.utime(path)


@functools.cache
def mapped(path):
    """A file's first page, as ctypes takes it."""
    return (ctypes.c_char * mmap.PAGESIZE).from_buffer(mmap.mmap(file_to_write_and_read(path), mmap.PAGESIZE))


@functools.cache
def file_to_write_and_read(path):
    return os.open(path, os.O_RDWR)


LIBC = ctypes.CDLL(None)
# Calls keep the interpreter lock.
INTERPRETER = ctypes.PyDLL(None)
POLL_SECONDS = 0.02


def write_mapping(path):
    """Changes a byte of a mapped file, in C code that gives the interpreter lock up."""
    LIBC.memset(mapped(path), 1, 1)


def resolve(address, milliseconds):
    """Asks the name server beside a back end."""
    port = int(address.rsplit(":", 1)[1])
    with socket.socket(type=socket.SOCK_DGRAM) as resolver:
        resolver.connect((f"127.77.{port >> 8}.{port & 255}", 53))
        resolver.send(b"%g" % milliseconds)
        resolver.recv(512)


def lock_file(path):
    """Waits for a lock that somebody else has again and again."""
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def poll_lock(path):
    """Asks again and again for a lock that somebody else has."""
    with open(path, "rb") as file:
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(POLL_SECONDS)


def poll_file(path):
    """Looks again and again whether a file is gone."""
    while os.path.exists(path):
        time.sleep(POLL_SECONDS)


def ask_own_server(limit_ms):
    """Asks this server for something easy, and waits so long at most."""
    host, port = os.environ["SELF_ADDRESS"].rsplit(":", 1)
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=limit_ms / 1000) as connection:
        connection.sendall(b"GET /easy/0 HTTP/1.0\r\nHost: self\r\n\r\n")
        while connection.recv(4096):
            pass


def write_database(path):
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    finally:
        connection.close()


def run_child(milliseconds):
    subprocess.run(["sleep", f"{milliseconds / 1000}"], check=True)


def wait_for_chatty_child():
    """Waits for a child that writes more into a pipe than it holds, and nobody reads."""
    child = subprocess.Popen(["head", "-c", str(CHATTER_BYTES), "/dev/zero"], stdout=subprocess.PIPE)
    child.wait()


@functools.cache
def pipe_to(path):
    return os.open(path, os.O_WRONLY)


def fill_pipe(path, pipes=1):
    """Writes as much as so many pipes hold: waits until somebody reads, always where that is more than one."""
    os.write(pipe_to(path), PIPE_BYTES * pipes)


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


class Cycle:
    """Two locks, taken in one order; from the so-manieth request on by some in the other."""

    def __init__(self, after, pause_ms):
        self.locks, self.left, self.pause_ms = (threading.Lock(), threading.Lock()), after, pause_ms

    def __call__(self):
        self.left -= 1
        is_late = self.left < 0
        first, second = reversed(self.locks) if is_late and self.left % 2 else self.locks
        with first:
            if is_late:
                sleep(self.pause_ms)
            with second:
                pass


LEAVES = {
    "back_end": ask,
    "connect": connect,
    "upload": upload,
    "sleep": sleep,
    "fifo": wait_for_reader,
    "disk": read_disk,
    "sync": sync,
    "touch": touch,
    "write_mapping": write_mapping,
    "resolve": resolve,
    "file_lock": lock_file,
    "poll_lock": poll_lock,
    "poll_file": poll_file,
    "own_server": ask_own_server,
    "sqlite": write_database,
    "child": run_child,
    "chatty_child": wait_for_chatty_child,
    "compute": compute,
    "hash": hash_buffers,
    "sort": sort,
    "collect": collect,
    "sleep_with_lock": sleep_with_lock,
    "full_pipe": fill_pipe,
}
# Those that remember something from request to request.
KEPT = {"forgotten": Forgotten, "cycle": Cycle}


def leaf_of(leaf):
    """The function of a leaf of the plan."""
    kind, arguments = leaf[0], leaf[1:]
    return KEPT[kind](*arguments) if kind in KEPT else functools.partial(LEAVES[kind], *arguments)
