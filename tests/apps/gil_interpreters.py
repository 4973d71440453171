"""Interpreters in one process, each with threads that keep and want its lock for known times.

In: a connection with the line "make", "share" or "run N"; from 3.12 on. Out: a listener whose port is printed; "make" makes an
interpreter with a lock of its own, "share" one that has the main one's, and is answered with its number; "run N" has two threads
in every interpreter take N turns, all at once, and is answered with a line of JSON for each of these threads and the one that
started them.
"""
import json
import os
import socket
import threading

try:
    import _interpreters as interpreters
    KINDS = {False: ("isolated",), True: ("legacy",)}
except ImportError:
    import _xxsubinterpreters as interpreters
    KINDS = {}

# Runs in every interpreter: KEEP_MS, TURNS and OUT are put in front.
PAIR = '''
import json, os, sys, threading, time
try:
    import ctypes
except ImportError:
    # 3.12 has none in an interpreter with a lock of its own. Whoever waits there asks for the lock after a second first.
    ctypes = None
    sys.setswitchinterval(1)

CLOCK_MONOTONIC, TIMER_ABSTIME = 1, 1
holder_ready, waiter_asleep = threading.Lock(), threading.Lock()
holder_ready.acquire()
waiter_asleep.acquire()


if ctypes:
    class Moment(ctypes.Structure):
        _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

    def until(moment_ns, library):
        moment = ctypes.byref(Moment(*divmod(moment_ns, 1_000_000_000)))
        library(None).clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, moment, None)

    def keep_until(moment_ns):
        until(moment_ns, ctypes.PyDLL)

    def sleep_until(moment_ns):
        until(moment_ns, ctypes.CDLL)
else:
    def keep_until(moment_ns):
        while time.monotonic_ns() < moment_ns:
            pass

    def sleep_until(moment_ns):
        time.sleep((moment_ns - time.monotonic_ns()) / 1e9)


def run_queue_ns():
    with open("/proc/thread-self/schedstat", "rb") as file:
        return int(file.read().split()[1])


def hold():
    """Keeps the lock until a moment that is fixed before."""
    holder_ready.release()
    waiter_asleep.acquire()
    end_ns = time.monotonic_ns() + KEEP_MS * 1_000_000
    keep_until(end_ns)
    return end_ns


def want():
    """Sleeps without the lock until a moment that is fixed before, and then wants it."""
    holder_ready.acquire()
    end_ns = time.monotonic_ns() + 20_000_000
    waiter_asleep.release()
    sleep_until(end_ns)
    return end_ns


def turns(kind, work):
    """By turn: its moment, and for how long the thread has been without a CPU at its end."""
    queue = [run_queue_ns()]
    moments = []
    for _ in range(TURNS):
        moments.append(work())
        queue.append(run_queue_ns())
    tell(kind, moments, [after - before for before, after in zip(queue, queue[1:])])


def tell(kind, moments=(), run_queue=()):
    told = {"kind": kind, "interpreter": NUMBER, "tid": threading.get_native_id(), "moments_ns": moments,
            "run_queue_ns": run_queue}
    os.write(OUT, json.dumps(told).encode() + b"\\n")


pair = [threading.Thread(target=turns, args=(kind, work)) for kind, work in (("hold", hold), ("want", want))]
for thread in pair:
    thread.start()
for thread in pair:
    thread.join()
tell("main")
'''

made = []


def make(share):
    number = interpreters.create(*KINDS[share]) if KINDS else interpreters.create(isolated=not share)
    made.append(number)
    return str(number).encode() + b"\n"


def run(count):
    """All at once: each keeps its lock for another time, so that none can be taken for another's."""
    out, into = os.pipe()
    told = f"OUT, TURNS = {into}, {count}\n"
    codes = {number: f"{told}NUMBER, KEEP_MS = {int(number)}, {60 + 20 * place}\n{PAIR}" for place, number in enumerate(made, 1)}
    threads = [threading.Thread(target=interpreters.run_string, args=item) for item in codes.items()]
    for thread in threads:
        thread.start()
    exec(f"{told}NUMBER, KEEP_MS = 0, 60\n{PAIR}", {})
    for thread in threads:
        thread.join()
    os.close(into)
    with open(out, "rb") as file:
        return file.read()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as file:
        what, *rest = file.readline().split()
        connection.sendall(run(int(rest[0])) if what == b"run" else make(what == b"share"))
