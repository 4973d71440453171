"""Clients that are not served, or leave, and write down what they saw; standard library only.

In: an address, a plan (`KIND:PATH` or `KIND:PATH:COUNT`, one after the other unless --at-once says more), bounds in seconds.
Out: one JSON object on standard output: `clients`, one entry each: its kind and path, what it saw, CLOCK_MONOTONIC times.
What a client can see:

refused   the connection was refused           unconnected  no connection within the time
reset     a reset before the first byte        reset_within a reset in the middle of the response
closed    the end before the first byte        cut          the end before all of Content-Length
timeout   nothing more within the time         left         it closed the connection itself, as it was told to
200       this status, the response whole

Kinds: get; post (a body that the application may leave unread; `then` is what it saw after the response); leave (closes
after --after seconds); leave_reading (closes in the middle of a long response); pipelined (three requests at once); late
(asks again on a kept connection once the server has closed it); farewell (behind TLS: says close_notify then, and asks for nothing).
"""

import argparse
import json
import select
import signal
import socket
import ssl
import sys
import threading
import time

BODY_BYTES = 400_000


class Client:
    def __init__(self, options, kind, path):
        self.options, self.kind, self.path = options, kind, path
        self.note = {"kind": kind, "path": path}
        self.buffer = b""
        self.is_last = False

    def connect(self, receive_bytes=None):
        self.note["start_ns"] = time.monotonic_ns()
        host, port = self.options.address.rsplit(":", 1)
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(self.options.timeout)
        try:
            self.socket.connect((host, int(port)))
        except ConnectionRefusedError:
            return self.saw("refused")
        except OSError:
            return self.saw("unconnected")
        self.note["port"] = self.socket.getsockname()[1]
        if self.options.tls:
            try:
                self.socket = self.options.tls.wrap_socket(self.socket)
            except OSError:
                return self.saw("unconnected")
        return None

    def saw(self, what):
        self.note["saw"] = what
        self.note["end_ns"] = time.monotonic_ns()
        return what

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            # What became of it shows in the reading.
            pass

    def head(self, method="GET", length=None):
        lines = [f"{method} {self.path} HTTP/1.1", "Host: test"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def response(self):
        """Reads one response to its end, by its Content-Length, or to the end of the connection."""
        while True:
            head, separator, body = self.buffer.partition(b"\r\n\r\n")
            if separator:
                fields = head.split(b"\r\n")
                self.is_last = b"\r\nconnection: close" in head.lower()
                status = fields[0].split(b" ")[1].decode()
                lengths = [int(f.split(b":")[1]) for f in fields if f.lower().startswith(b"content-length:")]
                if lengths and len(body) >= lengths[0]:
                    self.buffer = body[lengths[0]:]
                    return status
                if not lengths and head.lower().find(b"transfer-encoding") >= 0 and body.endswith(b"0\r\n\r\n"):
                    self.buffer = b""
                    return status
            try:
                part = self.socket.recv(1 << 16)
            except (ConnectionResetError, BrokenPipeError):
                return "reset_within" if self.buffer else "reset"
            except TimeoutError:
                return "timeout"
            if not part:
                if separator and not lengths:
                    return status
                return "cut" if self.buffer else "closed"
            self.buffer += part

    def run(self):
        try:
            getattr(self, self.kind)()
        finally:
            self.socket.close()

    def get(self):
        if not self.connect():
            self.send(self.head())
            self.saw(self.response())
            # Who traces may stop once the clients are done: the server must have closed what it said it would.
            if self.is_last:
                self.is_closed()

    def post(self):
        if not self.connect():
            self.send(self.head("POST", BODY_BYTES) + b"b" * BODY_BYTES)
            self.saw(self.response())
            # Whether the answer was here before the reset is a matter of luck; the reset itself is not.
            self.note["then"] = self.response()

    def leave(self):
        if not self.connect():
            self.send(self.head())
            readable, _, _ = select.select([self.socket], [], [], self.options.after)
            self.saw(self.response() if readable else "left")

    def leave_reading(self):
        if not self.connect(receive_bytes=8192):
            self.send(self.head())
            try:
                self.buffer = self.socket.recv(4096)
            except OSError:
                pass
            self.saw("left" if self.buffer else "closed")

    def pipelined(self):
        if not self.connect():
            self.send(self.head() * 3)
            self.note["all"] = [self.response() for _ in range(3)]
            self.saw(self.note["all"][-1])

    def is_closed(self):
        """Waits for the end of the connection, or for as long as its patience."""
        ready, _, _ = select.select([self.socket], [], [], self.options.timeout)
        return bool(ready)

    def farewell(self):
        if not self.connect():
            self.send(self.head())
            self.saw(self.response())
            self.note["closed_first"] = self.is_closed()
            try:
                self.socket.unwrap()
            except OSError:
                # The server does not say its own any more.
                pass
            # Its end, behind the farewell, must not come before the answer to that.
            time.sleep(0.2)

    def late(self):
        """The end of the connection is there, but not looked at: as it is with one in a pool."""
        if not self.connect():
            self.send(self.head())
            self.note["first"] = self.response()
            self.note["closed_first"] = self.is_closed()
            self.send(self.head())
            # The answer to what was sent is a reset; the end of the stream stands before it.
            poller = select.poll()
            poller.register(self.socket, select.POLLERR | select.POLLHUP)
            poller.poll(1000)
            self.saw(self.response())


def context(version):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    return made


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--after", type=float, default=0.3)
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("--tls", choices=["1.2", "1.3"])
    parser.add_argument("plan", nargs="+")
    options = parser.parse_args()
    if options.tls:
        versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
        options.tls = context(versions[options.tls])
    clients = []
    for entry in options.plan:
        kind, path, *count = entry.split(":")
        clients += [Client(options, kind, path) for _ in range(int(*count or [1]))]
    assert len(clients) <= 1000
    # A client that hangs must not outlive the test.
    signal.alarm(int(options.timeout * (len(clients) / options.at_once + 1)) + 20)
    threading.stack_size(256 * 1024)
    for start in range(0, len(clients), options.at_once):
        threads = [threading.Thread(target=client.run) for client in clients[start:start + options.at_once]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    json.dump({"clients": [client.note for client in clients]}, sys.stdout)


main()
