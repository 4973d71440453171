"""A server that serves one connection at a time and writes down when it got each: a witness of its accept queue.

In: the family (4, 6 or unix), a path for a UNIX socket or a port (0: any), the backlog, seconds of TCP_DEFER_ACCEPT (0:
none), a file for its notes. Out: a line with the port, then answers. `/sleep/SECONDS` keeps it busy, `/until` until
there is a file beside the notes with their name and `.go`. Each note is one JSON
object a line: `before_ns` and `after_ns` are CLOCK_MONOTONIC around the accept that gave the connection.
"""

import json
import os
import socket
import sys
import time

FAMILIES = {"4": (socket.AF_INET, "127.0.0.1"), "6": (socket.AF_INET6, "::1"), "unix": (socket.AF_UNIX, None)}


def listen(family, place, backlog, deferred):
    number, host = FAMILIES[family]
    listener = socket.socket(number, socket.SOCK_STREAM)
    if host is None:
        listener.bind(place)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(place)))
    if deferred:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, deferred)
    listener.listen(backlog)
    return listener


def serve(connection):
    request = b""
    while b"\r\n\r\n" not in request:
        part = connection.recv(4096)
        if not part:
            return None
        request += part
    path = request.split(b" ", 2)[1].decode()
    if path.startswith("/sleep/"):
        time.sleep(float(path.split("/")[2]))
    if path == "/until":
        while not os.path.exists(sys.argv[5] + ".go"):
            time.sleep(0.01)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    return path


def main():
    family, place, backlog, deferred, notes = sys.argv[1:6]
    listener = listen(family, place, int(backlog), int(deferred))
    print(listener.getsockname()[1] if family != "unix" else 0, flush=True)
    with open(notes, "w", encoding="utf-8", buffering=1) as file:
        while True:
            before_ns = time.monotonic_ns()
            connection, _ = listener.accept()
            after_ns = time.monotonic_ns()
            print(json.dumps({"before_ns": before_ns, "after_ns": after_ns}), file=file)
            try:
                serve(connection)
            except OSError:
                pass  # A client that went away is served.
            connection.close()


main()
