"""A server whose workers wait for their listener in a given way: waiters.py MODE WORKERS HOST PORT (a UNIX path, "").

accept: blocked in accept. select, poll: with it in the set. epoll: in an instance of each worker's own. exclusive,
oneshot, edge: the same with EPOLLEXCLUSIVE, EPOLLONESHOT, EPOLLET. shared: in one instance that all inherit. nested: in
an instance inside each worker's own. fcntl, flock: behind a lock around accept. defer: as epoll, with
TCP_DEFER_ACCEPT. reuse: a listener for each worker.
"""

import fcntl
import os
import select
import signal
import socket
import sys
import tempfile

mode, workers, host, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]


def listener():
    if not port:
        made = socket.socket(socket.AF_UNIX)
        made.bind(host)
    else:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if mode == "reuse":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if mode == "defer":
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        made.bind((host, int(port)))
    made.listen(128)
    made.setblocking(mode in ("accept", "fcntl", "flock"))
    return made


def instance(of):
    made = select.epoll()
    extra = {"exclusive": select.EPOLLEXCLUSIVE, "oneshot": select.EPOLLONESHOT, "edge": select.EPOLLET}
    made.register(of, select.EPOLLIN | extra.get(mode, 0))
    return made


def waits(shared, inherited, lock):
    """Returns a function that waits until the listener may have a connection, and one to call after accept."""
    if mode == "select":
        return lambda: select.select([shared], [], []), None
    if mode == "poll":
        polled = select.poll()
        polled.register(shared, select.POLLIN)
        return polled.poll, None
    if mode == "accept":
        return None, None
    if mode in ("fcntl", "flock"):
        # Each process needs a description of its own: locks of an inherited one are everybody's.
        own = open(lock, "r+b")
        call = fcntl.lockf if mode == "fcntl" else fcntl.flock
        return lambda: call(own, fcntl.LOCK_EX), lambda: call(own, fcntl.LOCK_UN)
    if mode == "shared":
        return inherited.poll, None
    if mode == "nested":
        outer = select.epoll()
        inner = instance(shared)
        outer.register(inner, select.EPOLLIN)
        return lambda: (outer.poll(), inner.poll(0)), None
    own = instance(shared)
    if mode == "oneshot":
        return own.poll, lambda: own.modify(shared, select.EPOLLIN | select.EPOLLONESHOT)
    return own.poll, None


def work(shared, inherited, lock):
    wait, after = waits(shared, inherited, lock)
    with open(os.environ["READY_FILE"], "a", encoding="ascii") as ready:
        ready.write(f"{os.getpid()}\n")
    while True:
        if wait:
            wait()
        try:
            client, _ = shared.accept()
        except BlockingIOError:
            client = None
        if after:
            after()
        if client is None:
            continue
        client.setblocking(True)
        with client:
            if client.recv(65536):
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


shared = None if mode == "reuse" else listener()
inherited = instance(shared) if mode == "shared" else None
lock = tempfile.NamedTemporaryFile()
children = []
for _ in range(workers):
    child = os.fork()
    if child == 0:
        work(shared or listener(), inherited, lock.name)
    children.append(child)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    signal.pause()
finally:
    for child in children:
        os.kill(child, signal.SIGKILL)
