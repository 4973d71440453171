"""A driver that waits for its back end and keeps the interpreter lock.

In, from the environment: LEAF_ADDRESS; RELEASES (it gives the lock up). `report/ID` asks there for 300 ms, all else answers at once. Out: `app`.
"""

import ctypes
import os
import socket

from witness import ready

HOST, PORT = os.environ["LEAF_ADDRESS"].rsplit(":", 1)
LIBC = (ctypes.CDLL if os.environ.get("RELEASES") else ctypes.PyDLL)(None)
ANSWER_BYTES = 64


def query():
    with socket.create_connection((HOST, int(PORT))) as connection:
        connection.sendall(b"300\n")
        answer = ctypes.create_string_buffer(ANSWER_BYTES)
        return answer.raw[: LIBC.recv(connection.fileno(), answer, ANSWER_BYTES, 0)]


def app(environ, start_response):
    body = query() if environ["PATH_INFO"].startswith("/report") else b"ok\n"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


ready()
