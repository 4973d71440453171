"""An application whose routes hang, each in another way, at a line that a comment marks.

In: the environment variable BACK_END, host:port of whoever never answers but who has a lock. Out: no answers but on `/`.
"""

import os
import socket
import threading
import time

lock = threading.Lock()
other_lock = threading.RLock()


def connected():
    host, port = os.environ["BACK_END"].rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def tells():
    # Goes on when the back end says so.
    with connected() as connection:
        connection.recv(1)


def holds():
    with lock:
        tells()
        time.sleep(3600)  # holds


def holds_without_with():
    other_lock.acquire()
    tells()
    time.sleep(3600)  # holds_without_with


def waits_for_the_other():
    other_lock.acquire()  # waits_for_the_other


def takes_first():
    with lock:
        tells()
        with other_lock:  # takes_first
            pass


def takes_last():
    with other_lock:
        tells()
        with lock:  # takes_last
            pass


def waits():
    lock.acquire()  # waits


def waits_for_a_while():
    lock.acquire(timeout=2)  # waits_for_a_while


def sleeps():
    time.sleep(0.05)


def asks():
    connection = connected()
    connection.recv(1)  # asks


ROUTES = {
    f"/{route.__name__}": route
    for route in (
        sleeps,
        holds,
        waits,
        waits_for_a_while,
        asks,
        holds_without_with,
        waits_for_the_other,
        takes_first,
        takes_last,
    )
}


def app(environ, start_response):
    route = ROUTES.get("/" + environ["PATH_INFO"].split("/")[1])
    if route:
        route()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
