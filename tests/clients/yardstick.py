"""How fast this machine is at a server's kind of work while a test runs.

In: nothing; ends when its standard input does. Out: JSON. `heads_ns`: how long pure Python took each time to parse a request's head into
an environment and to write a response's head, on average of ten, at most fifty times a second. `first_ns`: how long the first of each ten
took. `exchanges_ns`: how long another process took to answer one such head on a connection of its own, from connecting to its end: two
wakeups, a dozen system calls, a head.
"""

import json
import os
import select
import signal
import socket
import sys
import time

HEAD = b"""GET /fast/17?page=2 HTTP/1.1\r
Host: 127.0.0.1:8000\r
User-Agent: yardstick\r
Accept: text/html,application/xhtml+xml\r
Accept-Language: en\r
Accept-Encoding: gzip, deflate\r
Connection: keep-alive\r
Cookie: session=0123456789abcdef\r
\r
"""
HEADS = 10
PAUSE_SECONDS = 0.02
# A client that says nothing for so long has ended.
SILENCE_SECONDS = 10


def parse(head):
    lines = head.split(b"\r\n")
    method, target, version = lines[0].decode("latin-1").split(" ")
    path, _, query = target.partition("?")
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "SERVER_PROTOCOL": version}
    for line in lines[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            environ["HTTP_" + name.upper().replace("-", "_")] = value.strip(" \t")
    return environ


def answer(environ):
    headers = [("Content-Type", "text/plain"), ("Content-Length", "6"), ("Server", "yardstick")]
    lines = [environ["SERVER_PROTOCOL"] + " 200 OK"] + [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def serve(listener):
    """Answers one connection after the other, until none comes any more."""
    listener.settimeout(SILENCE_SECONDS)
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.sendall(answer(parse(connection.recv(4096))))


def exchange(address):
    with socket.create_connection(address, SILENCE_SECONDS) as connection:
        connection.sendall(HEAD)
        while connection.recv(4096):
            pass


def measure(address):
    heads_ns, first_ns, exchanges_ns = [], [], []
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        start_ns = time.perf_counter_ns()
        answer(parse(HEAD))
        first_ns.append(time.perf_counter_ns() - start_ns)
        for _ in range(HEADS - 1):
            answer(parse(HEAD))
        heads_ns.append((time.perf_counter_ns() - start_ns) // HEADS)
        start_ns = time.perf_counter_ns()
        exchange(address)
        exchanges_ns.append(time.perf_counter_ns() - start_ns)
    return {"heads_ns": heads_ns, "first_ns": first_ns, "exchanges_ns": exchanges_ns}


def main():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()
        if child == 0:
            serve(listener)
            os._exit(0)
        address = listener.getsockname()
    try:
        json.dump(measure(address), sys.stdout)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


main()
