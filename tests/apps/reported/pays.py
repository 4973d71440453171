"""Asks a service that never answers.

In, from the environment: LEAF_ADDRESS; TIMEOUT_SECONDS (empty: none). `pay/ID` asks there. Out: `app`.
"""

import os
import socket

from witness import ready

HOST, PORT = os.environ["LEAF_ADDRESS"].rsplit(":", 1)
TIMEOUT = float(os.environ["TIMEOUT_SECONDS"]) if os.environ.get("TIMEOUT_SECONDS") else None


def charge():
    with socket.create_connection((HOST, int(PORT)), timeout=TIMEOUT) as connection:
        connection.sendall(b"60000\n")
        try:
            return connection.recv(100)
        except TimeoutError:
            return b""


def app(environ, start_response):
    if environ["PATH_INFO"].startswith("/pay"):
        charge()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


ready()
