"""A WSGI application of which `/outer` asks its own server for `/inner`, and waits for a second at most.

In: `SELF_ADDRESS`. Out: 200 with the inner answer, 504 where none came.
"""

import os
import socket

from witness import ready

LIMIT_SECONDS = 1.0


def answer_of_itself():
    host, port = os.environ["SELF_ADDRESS"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=LIMIT_SECONDS) as connection:
        connection.sendall(b"GET /inner HTTP/1.0\r\nHost: self\r\n\r\n")
        return connection.recv(4096)


def app(environ, start_response):
    status = "200 OK"
    if environ["PATH_INFO"].startswith("/outer"):
        try:
            answer_of_itself()
        except TimeoutError:
            status = "504 Gateway Timeout"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]


ready()
