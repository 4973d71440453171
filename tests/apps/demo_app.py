"""A WSGI application (standard library only) whose routes each spend their time in one known way.

In, from the environment: BACKEND_ADDRESS (host:port of `backend.py`), WITNESS_FILE (where the `/truth` routes append
their own clock's measurement as JSON lines), READY_FILE (each worker appends its PID when it has loaded this module),
THREAD_NAME (a name for the thread that loads it).
Out: responses. A route may be followed by any unique id, which is only logged: `/fast/17`.

/fast              a few bytes at once                 /sleep/MS          time.sleep
/cpu               pure Python, about 5 ms             /lock              waits 5 ms for a lock that a thread holds
/backend           waits 20 ms for the back end        /file              writes, syncs and reads back 1 MiB, cold
/upload            reads the body                      /mixed             back end, computing, lock and a little sleep
/download          16 MB in one piece                  /stream            five chunks of unknown total length
/pieces/MS         MS of sleep, a piece, and so on: four pieces, and MS more after the last
/empty 204         /unchanged 304                      /error             500 from an exception
/steps/c2b30c1     computes 2 ms, waits 30 ms for the back end, computes 1 ms; s sleeps
/block/MS          sleeps in the C library: gevent cannot make it yield

The routes of `dropping.py` do not serve their client, those of `streams.py` do so in pieces.

/truth/sleep/MS/ID  /truth/backend/MS/ID  /truth/lock/MS/ID  /truth/cpu/MS/ID  /truth/file/ID
/truth/turn/MS/ID  asks the back end, one request at a time: the others wait for its lock
/truth/own/MS/ID   asks the back end twice, on a connection of its own that takes MS until it is ready
/truth/kept/MS/ID  the same, on a connection that its thread keeps
/truth/lookup/MS/ID  asks a name server that takes MS to answer
/truth/slowing/MS/ID  asks the back end, which takes MS for the first such questions (QUICK of backend.py) and four times as long from then on
/truth/oneasks/MS/ID  asks the back end: MS in the worker with the lowest PID, a quarter of it in the others
/truth/onesleeps/MS/ID  the same, asleep
/truth/gil/MS/ID   two threads of their own that compute MS each, each with its witness
/truth/hold/MS/ID  keeps the interpreter lock for MS in the C library, as soon as a /truth/want is asleep
/truth/want/MS/ID  sleeps for MS without the lock, and then wants it: what it takes longer is its wait. One for each hold
/truth/keep/MS/ID  keeps the interpreter lock for MS in the C library, whoever wants it
/truth/sleep32/MS/ID  sleeps for MS in a call of the 32-bit table, which a program of 64 bits can make too
/truth/child/MS/ID  starts a program that takes MS, and waits for its end
/truth/output/MS/ID  the same, and reads its output before
/truth/vfork/MS/ID  sleeps in clone, where MS is odd in clone3, until a child ends, as vfork does
/truth/calls/MS/ID  computes for MS, with a short system call every 0.2 ms: gives the interpreter lock up for it, and takes it again at once
"""

import ctypes
import functools
import json
import os
import platform
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import dropping
import streams
from witness import append, clocks, ready

DOWNLOAD = b"x" * (16 * 1024 * 1024)
FILE_BYTES = 1024 * 1024


def compute(milliseconds):
    """Burns this thread's own CPU time, and looks at the clock of that time as rarely as it can.

    Each look makes the kernel end a time slice that is over (`update_curr` in its `sched/fair.c`). In most applications only its tick does.
    """
    begin = now = time.thread_time_ns()
    end = begin + int(milliseconds * 1_000_000)
    value, done, rounds = 1, 0, 1500
    while now < end:
        for _ in range(rounds):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF
        done += rounds
        now = time.thread_time_ns()
        # Nine tenths of what is left, at the speed so far.
        rounds = max(150, (end - now) * done * 9 // (10 * (now - begin)))
    return value


def connect_backend():
    host, port = os.environ["BACKEND_ADDRESS"].rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=70)
    # Without a timeout recv is one blocking call, not poll and recv.
    connection.settimeout(None)
    return connection


def ask(connection, milliseconds, mark=b""):
    connection.sendall(b"%b%g\n" % (mark, milliseconds))
    while not connection.recv(4096).endswith(b"\n"):
        pass


def ask_backend(milliseconds):
    with connect_backend() as connection:
        ask(connection, milliseconds)


def ask_slowing_backend(milliseconds):
    """The back end takes four times as long from a certain question on."""
    with connect_backend() as connection:
        ask(connection, milliseconds, b"+")


def set_up(milliseconds):
    """A connection of which the back end takes so long to say, by one byte, that it is ready."""
    connection = connect_backend()
    connection.sendall(b"?%g\n" % milliseconds)
    if connection.recv(1) != b"N":
        raise ConnectionError
    return connection


def ask_on_own_connection(milliseconds):
    with set_up(milliseconds) as connection:
        ask(connection, 1)
        ask(connection, 1)


KEPT = threading.local()


def ask_on_kept_connection(milliseconds):
    """The same, on a connection that the thread keeps."""
    if not hasattr(KEPT, "connection"):
        KEPT.connection = set_up(milliseconds)
    ask(KEPT.connection, 1)
    ask(KEPT.connection, 1)


def look_up(milliseconds):
    """Asks the name server that stands beside the back end, as a resolver does: a datagram there and one back."""
    port = int(os.environ["BACKEND_ADDRESS"].rsplit(":", 1)[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.connect((f"127.77.{port >> 8}.{port & 255}", 53))
        resolver.send(b"%g" % milliseconds)
        resolver.recv(512)


@functools.cache
def is_odd_one():
    """Whether this is the worker with the lowest PID. All have loaded their application before a client comes."""
    with open(os.environ["READY_FILE"], encoding="ascii") as file:
        return os.getpid() == min(map(int, file))


def one_asks(milliseconds):
    ask_backend(milliseconds if is_odd_one() else milliseconds / 4)


def one_sleeps(milliseconds):
    sleep(milliseconds if is_odd_one() else milliseconds / 4)


TURN = threading.Lock()


def take_turn(milliseconds):
    with TURN:
        ask_backend(milliseconds)


def wait_for_lock(milliseconds):
    """A second thread opens, after the given time, the lock that this thread waits for."""
    lock = threading.Lock()
    lock.acquire()

    def hold():
        time.sleep(milliseconds / 1000)
        lock.release()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    lock.acquire()
    holder.join()


def touch_disk(_milliseconds=0):
    """Writes and syncs a file, drops it from the page cache, and reads it: the read waits for the disk. Returns when it begins to close the file, which can wait too."""
    with tempfile.TemporaryFile(dir=os.environ.get("FILE_DIRECTORY"), buffering=0) as file:
        file.write(b"f" * FILE_BYTES)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        position = 0
        while part := os.pread(file.fileno(), 65536, position):
            position += len(part)
        return time.monotonic_ns()


def sleep(milliseconds):
    time.sleep(milliseconds / 1000)


def sleep_by_32_bit_call(milliseconds):
    """nanosleep as 32-bit programs call it, which those of 64 bits can too. Its number is sync's in the other table."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    # Readable, writable and executable; private, anonymous, at an address of 32 bits.
    page = library.mmap(None, 4096, 7, 0x62, -1, 0)
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    duration = struct.pack("<ii", 0, int(milliseconds * 1_000_000))
    # push rbx; mov eax, 162; mov ebx, duration; xor ecx, ecx; int 0x80; pop rbx; ret
    code = b"\x53\xb8\xa2\0\0\0\xbb" + struct.pack("<I", page) + b"\x31\xc9\xcd\x80\x5b\xc3"
    ctypes.memmove(page, duration + code, len(duration + code))
    ctypes.CFUNCTYPE(ctypes.c_int)(page + len(duration))()
    library.munmap(page, 4096)


def run_child(milliseconds):
    """Starts a program and waits for its end, as `subprocess` does both."""
    subprocess.run(["sleep", f"{milliseconds / 1000}"], check=True)


def read_child(milliseconds):
    """The same, and reads the program's output to its end before. Returns how long it read, in ns."""
    with subprocess.Popen(["sleep", f"{milliseconds / 1000}"], stdout=subprocess.PIPE) as child:
        start = time.monotonic_ns()
        child.stdout.read()
        read_ns = time.monotonic_ns() - start
        child.wait()
    return read_ns


def vfork(milliseconds):
    """Sleeps in `clone` or `clone3` until a child that has no other program ends, as `vfork` does. In the child there is one thread, with the GIL."""
    clone_vfork = 0x4000
    library = ctypes.PyDLL(None, use_errno=True)
    arguments = struct.pack("<8Q", clone_vfork, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    if int(milliseconds) % 2:
        child = library.syscall(ctypes.c_long(435), arguments, ctypes.c_long(len(arguments)))
    else:
        number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
        nothing = [ctypes.c_long(0)] * 4
        child = library.syscall(ctypes.c_long(number), ctypes.c_long(clone_vfork | signal.SIGCHLD), *nothing)
    if child == 0:
        library.usleep(int(milliseconds * 1000))
        library._exit(0)
    if child < 0:
        raise OSError(ctypes.get_errno(), "no child")
    os.waitpid(child, 0)


def compete(milliseconds):
    """Two threads that keep each other waiting for the interpreter lock; each tells what its own clocks say."""
    threads = [threading.Thread(target=truth, args=("cpu", milliseconds, f"competitor-{n}")) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# Who holds is there; who wants sleeps. Plain locks: to open one is a single step that keeps the interpreter lock.
HOLDER_READY, WAITER_ASLEEP = threading.Lock(), threading.Lock()
HOLDER_READY.acquire()
WAITER_ASLEEP.acquire()
keep_lock = ctypes.PyDLL(None)
release_lock = ctypes.CDLL(None)


class Moment(ctypes.Structure):
    """`struct timespec`."""

    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def moment(milliseconds):
    """So many milliseconds from now, by CLOCK_MONOTONIC."""
    return time.monotonic_ns() + int(milliseconds * 1_000_000)


def timespec(moment_ns):
    return ctypes.byref(Moment(*divmod(moment_ns, 1_000_000_000)))


# Until a moment that is fixed before: who asks for the lock meanwhile gets it before the holder can look at a clock again.
CLOCK_MONOTONIC, TIMER_ABSTIME = 1, 1


def hold(milliseconds):
    WAITER_ASLEEP.acquire()
    end_ns = moment(milliseconds)
    keep_lock.clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, timespec(end_ns), None)
    return end_ns


def want(milliseconds):
    end_ns = moment(milliseconds)
    WAITER_ASLEEP.release()
    release_lock.clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, timespec(end_ns), None)
    return end_ns


def keep(milliseconds):
    keep_lock.usleep(int(milliseconds * 1000))


def call_often(milliseconds):
    # Whoever is woken for the lock does not take the CPU from who gave it up, whatever else the machine does.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    end = time.thread_time_ns() + int(milliseconds * 1_000_000)
    with open("/dev/zero", "rb", buffering=0) as zeros:
        while time.thread_time_ns() < end:
            os.read(zeros.fileno(), 1)
            compute(0.2)


TRUTHS = {"slowing": ask_slowing_backend, "oneasks": one_asks, "onesleeps": one_sleeps, "lookup": look_up, "own": ask_on_own_connection, "kept": ask_on_kept_connection, "keep": keep, "calls": call_often, "turn": take_turn, "hold": hold, "want": want, "gil": compete, "sleep32": sleep_by_32_bit_call, "child": run_child, "output": read_child, "vfork": vfork, "sleep": sleep, "backend": ask_backend, "lock": wait_for_lock, "cpu": compute, "file": touch_disk}


def truth(kind, milliseconds, unique):
    """Runs one kind of work and appends what this process's own clocks say of it."""
    work = TRUTHS[kind]
    start, cpu_start, queue_start = clocks()
    result = work(milliseconds)
    end, cpu_end, queue_end = clocks()
    witness = {
        "id": unique,
        "kind": kind,
        "asked_ms": milliseconds,
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "start_ns": start,
        "end_ns": end,
        # When it was to give the lock up, or wanted it; when it began to close its file.
        "until_ns": result if kind in ("hold", "want", "file") else None,
        # How long it read what another process wrote.
        "read_ns": result if kind == "output" else None,
        "wall_ns": end - start,
        "cpu_ns": cpu_end - cpu_start,
        "run_queue_ns": queue_end - queue_start,
    }
    append(os.environ.get("WITNESS_FILE"), [witness])
    return json.dumps(witness).encode()


def read_body(environ):
    """Reads the body to its end, sized or chunked, without keeping it."""
    total = 0
    while part := environ["wsgi.input"].read(65536):
        total += len(part)
    return total


def mixed():
    ask_backend(8)
    compute(2)
    wait_for_lock(3)
    sleep(2)


def steps(text):
    """One after the other: `c2b30c1` computes 2 ms, waits 30 ms for the back end, computes 1 ms; `s` sleeps."""
    for kind, milliseconds in re.findall(r"([bcs])(\d+)", text):
        {"b": ask_backend, "c": compute, "s": sleep}[kind](float(milliseconds))


def pieces(milliseconds):
    for number in range(4):
        time.sleep(milliseconds / 1000)
        yield b"piece %d\n" % number
    time.sleep(milliseconds / 1000)


def respond(environ):
    """The status and the body for a path."""
    parts = environ["PATH_INFO"].strip("/").split("/")
    route, rest = parts[0], parts[1:]
    if route in ("", "fast"):
        return "200 OK", [b"hello\n"]
    if route == "cpu":
        return "200 OK", [b"%d\n" % compute(5)]
    if route == "backend":
        ask_backend(20)
        return "200 OK", [b"from the back end\n"]
    if route == "upload":
        return "200 OK", [b"%d\n" % read_body(environ)]
    if route == "download":
        return "200 OK", [DOWNLOAD]
    if route == "sleep":
        sleep(float(rest[0]))
        return "200 OK", [b"slept\n"]
    if route == "block":
        ctypes.CDLL(None).usleep(int(float(rest[0]) * 1000))
        return "200 OK", [b"blocked\n"]
    if route == "lock":
        wait_for_lock(5)
        return "200 OK", [b"locked\n"]
    if route == "file":
        touch_disk()
        return "200 OK", [b"read\n"]
    if route == "steps":
        steps(rest[0])
        return "200 OK", [b"done\n"]
    if route == "mixed":
        mixed()
        return "200 OK", [b"mixed\n"]
    if route == "stream":
        return "200 OK", (b"part %d\n" % number for number in range(5))
    if route == "pieces":
        return "200 OK", pieces(float(rest[0]))
    if route in streams.ROUTES:
        return "200 OK", streams.pieces(route, *rest, ask_backend)
    if route == "empty":
        return "204 No Content", []
    if route == "unchanged":
        return "304 Not Modified", []
    if route == "error":
        raise RuntimeError("asked for")
    if route == "truth" and len(rest) >= 2 and rest[0] in TRUTHS:
        milliseconds = float(rest[1]) if len(rest) > 2 else 0.0
        if rest[0] == "hold":
            HOLDER_READY.release()
        elif rest[0] == "want":
            HOLDER_READY.acquire()
        return "200 OK", [truth(rest[0], milliseconds, rest[-1])]
    return "404 Not Found", [b"no such route\n"]


def app(environ, start_response):
    if environ["PATH_INFO"].split("/")[1] in dropping.ROUTES:
        return dropping.answer(environ, start_response)
    status, body = respond(environ)
    headers = [("Content-Type", "text/plain")]
    if "HTTP_COOKIE" in environ:
        headers.append(("Set-Cookie", "session=planted-answer"))
    if isinstance(body, list) and not status.startswith(("204", "304")):
        headers.append(("Content-Length", str(sum(map(len, body)))))
    start_response(status, headers)
    # A body in answer to HEAD would be taken for the next response: gunicorn 23 sends what it is given.
    return [] if environ["REQUEST_METHOD"] == "HEAD" else body


if os.environ.get("THREAD_NAME"):
    # PR_SET_NAME of the thread that loads this module: a name that no tool should print as it stands.
    ctypes.CDLL(None).prctl(15, os.environ["THREAD_NAME"].encode(), 0, 0, 0)

ready()
