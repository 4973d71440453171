"""The demo application, with routes that do not serve their client.

In: as `demo_app.py`. Out: its routes, and these:

/short/BYTES   says Content-Length and writes BYTES bytes less      /unread    answers without reading the body
/abort         SIGABRT from the C library                           /fault     reads address 0
/leave         ends the process with status 5                       /memory    takes memory until there is none
/signal        sends itself SIGKILL                                 /big       64 MB
"""

import ctypes
import os
import signal

import demo_app

BIG = b"x" * (64 * 1024 * 1024)


def app(environ, start_response):
    parts = environ["PATH_INFO"].split("/")
    route = parts[1]
    if route == "short":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1000")])
        return [b"x" * (1000 - int(parts[2]))]
    if route == "unread":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]
    if route == "big":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BIG)))])
        return [BIG]
    if route == "abort":
        os.abort()
    if route == "fault":
        ctypes.string_at(0)
    if route == "leave":
        os._exit(5)
    if route == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    if route == "memory":
        kept = []
        while True:
            kept.append(bytearray(b"m") * (1 << 20))
    return demo_app.app(environ, start_response)
