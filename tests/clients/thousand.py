"""Many clients that connect at once, in one thread, and what each of them saw; standard library only.

In: an address, how many, a path (each client adds its own number), how long all may take, in seconds. Out: one JSON object:
`clients`, how many saw what:

refused     the connection was refused           unconnected  no connection within the time
reset       a reset before the first byte        reset_within a reset in the middle of the response
closed      the end before the first byte        cut          the end before all of Content-Length
waited      the server's side had the request, and sent nothing within the time
waited_within  the same in the middle of the response
unheard     connected by its own account, but the server's side never acknowledged a byte of the request
200         this status, the response whole

A client that has seen its end closes at once, the unheard by a reset. `connected` counts those whose request reached the
server's side: all but the refused, the unconnected and the unheard. Of the latter the server's side may have a connection without
a byte, where accept is deferred.
"""

import argparse
import collections
import errno
import json
import select
import signal
import socket
import struct
import sys
import time

# tcpi_unacked in struct tcp_info (include/uapi/linux/tcp.h).
UNACKNOWLEDGED_AT = 24
NOT_CONNECTED = ("refused", "unconnected", "unheard")


class Client:
    def __init__(self, number, options):
        host, port = options.address.rsplit(":", 1)
        self.request = f"GET {options.path}/{number} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode()
        self.answer = b""
        self.saw = None
        self.is_connected = False
        self.socket = socket.socket()
        self.socket.setblocking(False)
        outcome = self.socket.connect_ex((host, int(port)))
        if outcome not in (0, errno.EINPROGRESS):
            self.end("refused" if outcome == errno.ECONNREFUSED else "unconnected")

    def end(self, saw):
        self.saw = saw
        self.socket.close()

    def writable(self):
        failed = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            return self.end("refused" if failed == errno.ECONNREFUSED else "unconnected")
        self.is_connected = True
        try:
            # It is shorter than any buffer.
            self.socket.send(self.request)
        except OSError:
            # What became of it shows in the reading.
            pass
        return None

    def status(self):
        """The status, where the response is whole by its Content-Length."""
        head, separator, body = self.answer.partition(b"\r\n\r\n")
        fields = head.split(b"\r\n")
        lengths = [int(f.split(b":")[1]) for f in fields if f.lower().startswith(b"content-length:")]
        if separator and lengths and len(body) >= lengths[0]:
            return fields[0].split(b" ")[1].decode()
        return None

    def readable(self):
        while self.saw is None:
            try:
                part = self.socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                return self.end("reset_within" if self.answer else "reset")
            if not part:
                head, separator, _ = self.answer.partition(b"\r\n\r\n")
                if separator and b"content-length:" not in head.lower():
                    return self.end(head.split(b" ")[1].decode())
                return self.end("cut" if self.answer else "closed")
            self.answer += part
            if status := self.status():
                return self.end(status)

    def give_up(self):
        """The time is over: what is here by now counts."""
        if not self.is_connected:
            return self.end("unconnected")
        self.readable()
        if self.saw is None:
            info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            unacknowledged = struct.unpack_from("=I", info, UNACKNOWLEDGED_AT)[0]
            if unacknowledged and not self.answer:
                # By a reset: else the kernel would go on trying, and the server get a connection from nobody.
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.end("unheard")
            else:
                self.end("waited_within" if self.answer else "waited")
        return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    assert options.count <= 1000 and options.seconds <= 60
    # A client that hangs must not outlive the run.
    signal.alarm(int(options.seconds) + 20)
    start = time.monotonic()
    deadline = start + options.seconds
    poller = select.epoll()
    clients, open_clients = [], {}
    for number in range(options.count):
        client = Client(number, options)
        clients.append(client)
        if client.saw is None:
            open_clients[client.socket.fileno()] = client
            poller.register(client.socket, select.EPOLLOUT)
    started = time.monotonic() - start
    while open_clients and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(left):
            client = open_clients[descriptor]
            if client.is_connected:
                client.readable()
            else:
                client.writable()
                if client.saw is None:
                    poller.modify(descriptor, select.EPOLLIN)
            if client.saw is not None:
                # Its number is another's as soon as it is closed; nobody opens one here.
                del open_clients[descriptor]
    for client in open_clients.values():
        client.give_up()
    saw = collections.Counter(client.saw for client in clients)
    connected = sum(count for what, count in saw.items() if what not in NOT_CONNECTED)
    json.dump(
        {
            "clients": dict(sorted(saw.items())),
            "connected": connected,
            "started_seconds": round(started, 3),
            "seconds": round(time.monotonic() - start, 3),
        },
        sys.stdout,
    )


main()
