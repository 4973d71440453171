"""Routes of the demo application that do not serve their client.

In: requests under `ROUTES`. Out: what they do instead:

/short/BYTES   says Content-Length and writes BYTES bytes less      /unread    answers without reading the body
/abort         SIGABRT from the C library                           /fault     reads address 0
/leave         ends the process with status 5                       /memory    takes memory until there is none
/signal        sends itself SIGKILL                                 /big       64 MB
/recv          waits for a peer that never answers                  /spin      computes for ever
"""

import ctypes
import os
import signal
import socket

BIG_BYTES = 64 * 1024 * 1024


ROUTES = {"short", "unread", "big", "abort", "fault", "leave", "signal", "memory", "recv", "spin"}


def wait_for_silent():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as silent:
            silent.recv(1)  # the line that waits


def spin():
    count = 0
    while True:
        count += sum(range(1000))  # the line that computes


def answer(environ, start_response):
    parts = environ["PATH_INFO"].split("/")
    route = parts[1]
    if route == "abort":
        os.abort()
    if route == "fault":
        ctypes.string_at(0)
    if route == "leave":
        os._exit(5)
    if route == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    if route == "recv":
        wait_for_silent()
    if route == "spin":
        spin()
    if route == "memory":
        kept = []
        while True:
            kept.append(bytearray(b"m") * (1 << 20))
    if route == "short":
        length, body = 1000, b"x" * (1000 - int(parts[2]))
    elif route == "big":
        length, body = BIG_BYTES, b"x" * BIG_BYTES
    else:
        length, body = 2, b"ok"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(length))])
    return [body]
