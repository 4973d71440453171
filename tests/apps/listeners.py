"""A server that changes its listener while it serves, one connection at a time: listeners.py HOST PORT [shared].

Writes a line to READY_FILE when it listens. It does what a request's path says after it has answered, and then closes the connection:
/reopen closes the listener and listens at the same port again; /copy goes on with another descriptor of the listener, made by
fcntl, /dup2 by dup2, and closes the first; /over puts a file over the connection's descriptor instead of closing it;
/answer-by-copy answers by a copy of the connection, the first descriptor being closed; /share lets a process that is no descendant of
this one, and that holds the listener too (shared), serve the next connection.
"""

import fcntl
import os
import signal
import socket
import sys

HOST, PORT = sys.argv[1], int(sys.argv[2])
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def listen():
    made = socket.socket(socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((HOST, PORT))
    made.listen(16)
    return made


def stranger(listener):
    """Starts a process that init adopts, before anybody looks: it serves one connection when told to. Returns how to tell it, and
    how it tells that it has."""
    (told, tell), (done, ready) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.setsid()
            signal.alarm(60)
            os.close(tell)
            if os.read(told, 1):
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(ANSWER)
                os.write(ready, b"!")
                # It holds the listener until the other has ended.
                os.read(told, 1)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(ready)
    return tell, done


listener = listen()
tell, done = stranger(listener) if sys.argv[3:] == ["shared"] else (None, None)
with open(os.environ["READY_FILE"], "a", encoding="ascii") as ready:
    ready.write(f"{os.getpid()}\n")
while True:
    client, _ = listener.accept()
    request = client.recv(65536)
    if not request:
        client.close()
        continue
    path = request.split(b" ")[1].split(b"/")[1].decode()
    if path == "answer-by-copy":
        copy = os.dup2(client.fileno(), 60)
        client.close()
        client = socket.socket(fileno=copy)
    client.sendall(ANSWER)
    if path == "reopen":
        listener.close()
        listener = listen()
    elif path in ("copy", "dup2"):
        duplicate = fcntl.fcntl(listener, fcntl.F_DUPFD, 40) if path == "copy" else os.dup2(listener.fileno(), 50)
        listener.close()
        listener = socket.socket(fileno=duplicate)
    elif path == "over":
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, client.fileno())
        os.close(null)
    elif path == "share":
        client.close()
        os.write(tell, b"!")
        os.read(done, 1)
    client.close()
