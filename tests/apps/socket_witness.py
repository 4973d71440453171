"""The eyes of a witness on a server's own calls of its clients' connections, where neither the server's log nor the
application sees the moments between which a request is served.

In, from the environment: REQUEST_LOG, the file to append to; connections whose clients send a request after the answer to the one
before. Out: `watch`, after which each answered request leaves a line as `witnessed.py` writes them: `start_ns` is when the server
called `recv` for the last bytes of the head, `end_ns` when it called `send` for the last time before the next head or the end. Both are
taken before the call, in which other threads may take the interpreter lock.
"""

import os
import re
import socket
import threading
import time

from witness import log

HEAD = re.compile(rb"([A-Z]+) ([^ ?]*)[^ ]* HTTP/1\.[01]\r\n")


class Conversation:
    """What was said on one connection."""

    def __init__(self):
        self.head = b""
        self.line = None

    def received(self, data, called_ns):
        """Bytes of a head, once the answer before is over; else of a body. None: the client has gone."""
        if data and self.line and (self.line["end_ns"] is None or not HEAD.match(data)):
            return
        self.over()
        self.head += data
        if b"\r\n\r\n" in self.head:
            method, path = HEAD.match(self.head).groups()
            self.head = b""
            self.line = {
                "method": method.decode("ascii"),
                "path": path.decode("ascii"),
                "status": None,
                "pid": os.getpid(),
                "tid": threading.get_native_id(),
                "start_ns": called_ns,
                "end_ns": None,
            }

    def sent(self, data, called_ns):
        """Bytes of an answer."""
        if self.line:
            self.line["status"] = self.line["status"] or int(bytes(data[:12]).split()[1])
            self.line["end_ns"] = called_ns

    def over(self):
        """No more comes of the request."""
        if self.line and self.line["end_ns"]:
            log(self.line)
        self.line = None


class Seen(socket.socket):
    """A socket; those that `accept` makes are clients' connections."""

    conversation = None

    def accept(self):
        connection, address = super().accept()
        connection.conversation = Conversation()
        return connection, address

    def recv(self, *arguments):
        called_ns = time.monotonic_ns()
        data = super().recv(*arguments)
        if self.conversation:
            self.conversation.received(data, called_ns)
        return data

    def send(self, data, *arguments):
        called_ns = time.monotonic_ns()
        count = super().send(data, *arguments)
        if self.conversation:
            self.conversation.sent(data, called_ns)
        return count

    def close(self):
        super().close()
        if self.conversation:
            self.conversation.over()


def watch():
    """From now on, before the server makes its listener; `socket.accept` makes sockets by this name, too."""
    socket.socket = Seen
