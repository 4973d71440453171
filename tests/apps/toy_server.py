"""A small threaded HTTP server whose every wait is known, for tests of the kernel side.

In: `tcp` or a socket's path, and a number of threads. Out: a line with port (or path), then answers. Keep-alive
throughout; the path chooses what the serving thread does before it answers.
"""

import os
import select
import socket
import sys
import threading
import time


def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


BACK_ENDS = {}


def ask(address):
    """Asks a back end (a port, or a path) without waiting for the connection, and looks for the answer long after it came."""
    connection = BACK_ENDS.get(address)
    if connection is None:
        is_port = address.isdigit()
        connection = BACK_ENDS[address] = socket.socket(socket.AF_INET if is_port else socket.AF_UNIX)
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", int(address)) if is_port else address)
    select.select([], [connection], [])
    connection.sendall(b"ask")
    select.select([connection], [], [])
    time.sleep(0.05)
    connection.recv(100)


def act(path):
    if path.startswith("/sleep/"):
        time.sleep(float(path[7:]))
    elif path.startswith("/burn/"):
        burn(float(path[6:]))
    elif path.startswith("/child/"):
        child = os.fork()
        if child == 0:
            time.sleep(float(path[7:]))
            os._exit(3)
        os.waitpid(child, 0)
    elif path.startswith("/burning-children/"):
        # They stay alive afterwards, so that their accounts can be compared.
        for _ in range(int(path[18:])):
            if os.fork() == 0:
                burn(1.5)
                time.sleep(600)
    elif path.startswith("/ask/"):
        ask(path[5:].replace("+", "/"))
    elif path == "/thread":
        thread = threading.Thread(target=time.sleep, args=(0.01,))
        thread.start()
        thread.join()


ANSWER = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
# The head in two writes, then the body in two, of which one looks like the end of a head.
IN_PARTS = [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 6\r\n\r\n", b"\r\n\r\n", b"ok"]


def serve(connection):
    pending = b""
    while True:
        while b"\r\n\r\n" not in pending:
            got = connection.recv(8192)
            if not got:
                connection.close()
                return
            pending += got
        head, _, pending = pending.partition(b"\r\n\r\n")
        path = head.split()[1].decode()
        act(path)
        for part in IN_PARTS if path == "/parts" else ANSWER:
            connection.sendall(part)


def accept_forever(listener):
    while True:
        connection, _ = listener.accept()
        serve(connection)


def main():
    where, threads = sys.argv[1], int(sys.argv[2])
    if where == "tcp":
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        print(listener.getsockname()[1], flush=True)
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(where)
        listener.listen(128)
        print(where, flush=True)
    for _ in range(threads):
        threading.Thread(target=accept_forever, args=(listener,), daemon=True).start()
    threading.Event().wait()


main()
