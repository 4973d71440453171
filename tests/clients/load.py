"""Bounded HTTP load over loopback, well-behaved clients and slow ones; standard library only.

In: an address, bounds in seconds and in requests, and how many clients of each kind. Every request carries a unique
number as the last segment of its path. Out: one JSON object on standard output: `counts`, and under `requests` what was
sent and what came back, with CLOCK_MONOTONIC times. A request that got no answer has `status` null. Under `unsent` stand the
requests that clients wanted to send and could not: there was no connection, or the time was over before it was their turn.
"""

import argparse
import itertools
import json
import random
import signal
import socket
import ssl
import sys
import threading
import time


# Who gets no connection comes again after this time: nobody tries thousands of times a second.
AGAIN_SECONDS = 0.05
# Body bytes taken at once, and thrown away: a client should not be what is slow.
DROPPED_BYTES = 1024 * 1024


class Closed(Exception):
    """The server closed the connection before a whole response."""


class Connection:
    """A client connection that frames responses itself, so that nothing is hidden or repeated."""

    def __init__(self, options, receive_buffer_bytes=None):
        self.options = options
        if options.unix:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            peer = options.unix
        else:
            host, port = options.address.rsplit(":", 1)
            host = host.strip("[]")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            peer = (host, int(port))
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(options.timeout)
        self.socket.connect(peer)
        if options.tls:
            self.socket = options.tls.wrap_socket(self.socket)
        self.buffer = b""
        self.dropped = options.dropped
        self.first_byte_ns = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.options.tls:
            self.farewell()
        self.socket.close()

    def farewell(self):
        """Sends close_notify, as TLS asks for, and does not wait for the server's."""
        try:
            self.socket.settimeout(0)
            self.socket.unwrap()
        except (OSError, ValueError):
            pass

    def fill(self):
        part = self.socket.recv(65536)
        if not part:
            raise Closed
        if self.first_byte_ns is None:
            self.first_byte_ns = time.monotonic_ns()
        self.buffer += part

    def take(self, count, pace_bytes_per_second=None):
        """Reads and drops `count` body bytes, at a pace where one is given."""
        rest = count - len(self.buffer)
        self.buffer = self.buffer[count:]
        start, got = time.monotonic(), 0
        while rest > 0:
            part = self.socket.recv_into(self.dropped, min(rest, 65_536 if pace_bytes_per_second else DROPPED_BYTES))
            if not part:
                raise Closed
            rest -= part
            got += part
            if pace_bytes_per_second:
                time.sleep(max(0.0, start + got / pace_bytes_per_second - time.monotonic()))

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def head(self):
        """The next head: status and headers."""
        self.first_byte_ns = time.monotonic_ns() if self.buffer else None
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        return int(first.split()[1]), headers

    def body(self, method, status, headers, pace=None):
        """Reads the body; returns its length and whether the connection can be used again."""
        reusable = headers.get("connection", "").lower() != "close"
        if method == "HEAD" or status in (204, 304):
            return 0, reusable
        if "content-length" in headers:
            length = int(headers["content-length"])
            self.take(length, pace)
            return length, reusable
        total = 0
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.line(), 16):
                self.take(size, pace)
                total += size
                self.line()
            self.line()
            return total, reusable
        while True:
            total += len(self.buffer)
            self.buffer = b""
            try:
                self.fill()
            except Closed:
                return total, False


class Load:
    """What all clients share: numbers, bounds, results."""

    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        self.numbers = itertools.count(options.first_id)
        self.left = options.requests
        self.end = time.monotonic() + options.seconds
        self.requests = []
        self.unsent = []
        self.connections = 0
        self.errors = {}

    def over(self):
        return time.monotonic() >= self.end

    def stop(self):
        """What was begun is finished, and no more."""
        self.end = min(self.end, time.monotonic())

    def entry(self, kind, method, route, due_ns):
        number = next(self.numbers)
        path = f"{route}/{number}"
        return {"id": number, "kind": kind, "method": method, "path": path, "status": None, "due_ns": due_ns}

    def begin(self, kind, method, route, due_ns=None):
        """A new request's entry, or None when the bounds are reached. It is due now unless another moment is given."""
        with self.lock:
            if self.left <= 0 or self.over():
                return None
            self.left -= 1
            entry = self.entry(kind, method, route, due_ns or time.monotonic_ns())
            self.requests.append(entry)
            return entry

    def not_sent(self, kind, method, route, due_ns):
        """Notes a request that was due and that nobody could send."""
        with self.lock:
            self.unsent.append(self.entry(kind, method, route, due_ns))

    def connect(self, **keywords):
        try:
            connection = Connection(self.options, **keywords)
        except OSError:
            time.sleep(AGAIN_SECONDS)
            raise
        with self.lock:
            self.connections += 1
        return connection

    def failed(self, error):
        with self.lock:
            name = type(error).__name__
            self.errors[name] = self.errors.get(name, 0) + 1


SECRET_HEADERS = ["Cookie: session=planted-cookie", "Authorization: Bearer planted-token"]


def head_of(entry, headers=(), query=""):
    lines = [f"{entry['method']} {entry['path']}{query} HTTP/1.1", "Host: demo", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def send(connection, entry, data):
    entry["tid"] = threading.get_native_id()
    entry["sent_ns"] = time.monotonic_ns()
    entry["port"] = 0 if connection.options.unix else connection.socket.getsockname()[1]
    connection.socket.sendall(data)
    entry["all_sent_ns"] = time.monotonic_ns()


def receive(connection, entry, pace=None):
    """Reads the answer into the entry; returns whether the connection can be used again."""
    status, headers = connection.head()
    while status == 100:
        status, headers = connection.head()
    entry["first_byte_ns"] = connection.first_byte_ns
    length, reusable = connection.body(entry["method"], status, headers, pace)
    entry["status"], entry["body_bytes"], entry["end_ns"] = status, length, time.monotonic_ns()
    return reusable


def framed(load, entry, last):
    """The bytes of one ordinary request of the entry's kind, head and body apart."""
    plant = load.options.plant_secrets
    headers = (["Connection: close"] if last else []) + (SECRET_HEADERS if plant else [])
    query = "?key=planted-query" if plant else ""
    secret = b"planted-body" if plant else b""
    if entry["kind"] == "sized":
        body = secret + b"u" * load.options.upload_bytes
        return head_of(entry, [*headers, f"Content-Length: {len(body)}"], query), body
    if entry["kind"] == "chunked":
        parts = [secret or b"c", b"c" * 700, b"c" * 8192, b"c" * 4096]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        return head_of(entry, [*headers, "Transfer-Encoding: chunked"], query), chunks + b"0\r\n\r\n"
    if entry["kind"] == "expect":
        body = secret + b"e" * 3000
        return head_of(entry, [*headers, f"Content-Length: {len(body)}", "Expect: 100-continue"], query), body
    return head_of(entry, headers, query), b""


def exchange(load, connection, entry, last):
    head, body = framed(load, entry, last)
    if entry["kind"] == "expect":
        send(connection, entry, head)
        status, headers = connection.head()
        if status == 100:
            connection.socket.sendall(body)
            return receive(connection, entry)
        entry["first_byte_ns"] = connection.first_byte_ns
        length, _ = connection.body(entry["method"], status, headers)
        entry["status"], entry["body_bytes"], entry["end_ns"] = status, length, time.monotonic_ns()
        return False
    send(connection, entry, head + body)
    return receive(connection, entry)


def pipelined(load, connection, route):
    """Several requests in one segment; servers answer all, or the first alone."""
    entries = [entry for _ in range(3) if (entry := load.begin("pipeline", "GET", route))]
    if entries:
        for entry in entries:
            entry["sent_ns"] = time.monotonic_ns()
        connection.socket.sendall(b"".join(framed(load, entry, False)[0] for entry in entries))
    reusable = True
    for entry in entries:
        reusable = receive(connection, entry)
        # gunicorn 23 forgets what it has read beyond the first request until its keep-alive ends.
        connection.socket.settimeout(min(1.0, load.options.timeout))
    connection.socket.settimeout(load.options.timeout)
    return reusable


KINDS = {
    "get": ("GET", None),
    "head": ("HEAD", None),
    "sized": ("POST", "/upload"),
    "chunked": ("POST", "/upload"),
    "expect": ("POST", "/upload"),
    "pipeline": ("GET", None),
}


class Pace:
    """When a client asks again: at once, some time after the answer, or by the clock, however long the answer took."""

    def __init__(self, options):
        self.think, self.every_ns = options.think_ms / 1000, int(options.every_ms * 1_000_000)
        # When the next request is due: from then on its client waits, whether it has a connection or not.
        self.due_ns = time.monotonic_ns()
        self.is_begun = False

    def wait(self):
        if self.every_ns:
            # What is late is made up for at once: so do clients that do not wait for one another.
            self.due_ns += self.every_ns
            time.sleep(max(0, self.due_ns - time.monotonic_ns()) / 1e9)
        else:
            if self.think:
                time.sleep(self.think)
            self.due_ns = time.monotonic_ns()
        self.is_begun = False

    def again(self):
        """The next request is due at once; by the clock it is the same one."""
        if not self.every_ns:
            self.due_ns, self.is_begun = time.monotonic_ns(), False

    def left_ns(self, end_ns):
        """Moments before the end at which a request was due that has not begun."""
        first_ns = self.due_ns + self.every_ns if self.is_begun else self.due_ns
        if self.every_ns:
            return range(first_ns, end_ns, self.every_ns)
        return [] if self.is_begun or first_ns >= end_ns else [first_ns]


def chosen(options, choice):
    """What the next request is: kind, method, route."""
    kind = choice.choices(list(options.kinds), list(options.kinds.values()))[0]
    method, fixed = KINDS[kind]
    return kind, method, fixed or choice.choices(list(options.routes), list(options.routes.values()))[0]


def ordinary(load, seed):
    """One client: connections of one request, or of several where keep-alive is on, until the bounds are reached."""
    options, choice = load.options, random.Random(seed)
    if options.spread_seconds:
        time.sleep(choice.uniform(0, min(options.spread_seconds, max(0.0, load.end - time.monotonic()))))
    pace = Pace(options)
    converse(load, choice, pace)
    # Where the time is over, what was due before is late for good. Where all requests are sent, nothing is.
    if load.over():
        for due_ns in pace.left_ns(int(load.end * 1e9))[: max(0, load.left)]:
            load.not_sent(*chosen(options, choice), due_ns)


def converse(load, choice, pace):
    """All that a client asks, in its time."""
    options = load.options
    while not load.over() and load.left > 0:
        turn = 0
        try:
            connection = load.connect()
        except OSError as error:
            load.failed(error)
            load.not_sent(*chosen(options, choice), pace.due_ns)
            pace.is_begun = True
            pace.wait()
            continue
        try:
            with connection:
                for turn in range(options.keep_alive):
                    kind, method, route = chosen(options, choice)
                    if kind == "pipeline":
                        pace.is_begun = True
                        if not pipelined(load, connection, route):
                            break
                        pace.again()
                        continue
                    entry = load.begin(kind, method, route, pace.due_ns)
                    if entry is None:
                        return
                    pace.is_begun = True
                    last = turn + 1 == options.keep_alive
                    if not exchange(load, connection, entry, last) or last:
                        break
                    pace.wait()
        except (Closed, OSError, ValueError) as error:
            load.failed(error)
            if turn > 0:
                # A kept connection that the server closed meanwhile: as browsers do, at once on a new one.
                pace.again()
                continue
        pace.wait()


def slow_body(load, _seed):
    """Uploads at 1 kB/s, in pieces of a tenth of that."""
    options = load.options
    while entry := load.begin("slow_body", "POST", "/upload"):
        try:
            with load.connect() as connection:
                length = options.slow_body_bytes
                send(connection, entry, head_of(entry, [f"Content-Length: {length}", "Connection: close"]))
                start, sent = time.monotonic(), 0
                while sent < length:
                    time.sleep(max(0.0, start + sent / options.slow_body_rate - time.monotonic()))
                    piece = min(max(options.slow_body_rate // 10, 1), length - sent)
                    connection.socket.sendall(b"s" * piece)
                    sent += piece
                receive(connection, entry)
        except (Closed, OSError) as error:
            load.failed(error)


def slow_head(load, _seed):
    """Sends a request's head in small pieces over about a second."""
    while entry := load.begin("slow_head", "GET", "/fast"):
        try:
            with load.connect() as connection:
                data = head_of(entry, ["Connection: close", "X-Filler: " + "f" * 100])
                for turn, start in enumerate(range(0, len(data), 20)):
                    piece = data[start : start + 20]
                    send(connection, entry, piece) if turn == 0 else connection.socket.sendall(piece)
                    time.sleep(0.1)
                receive(connection, entry)
        except (Closed, OSError) as error:
            load.failed(error)


def slow_reader(load, _seed):
    """Reads 16 MB over a few seconds through a small receive buffer."""
    options = load.options
    while entry := load.begin("slow_reader", "GET", "/download"):
        try:
            with load.connect(receive_buffer_bytes=16_384) as connection:
                send(connection, entry, head_of(entry, ["Connection: close"]))
                receive(connection, entry, pace=16 * 1024 * 1024 / options.slow_read_seconds)
        except (Closed, OSError) as error:
            load.failed(error)


def idle(load, _seed):
    """Connects, sends nothing for a while, and goes away."""
    while not load.over():
        due_ns = time.monotonic_ns()
        try:
            connection = load.connect()
        except OSError as error:
            load.failed(error)
            load.not_sent("idle", "GET", "/", due_ns)
            if isinstance(error, TimeoutError):
                continue
            return
        try:
            with connection:
                # Ends early when the server closes first.
                connection.socket.settimeout(min(load.options.idle_seconds, max(0.01, load.end - time.monotonic())))
                connection.socket.recv(1)
        except TimeoutError:
            pass
        except OSError as error:
            load.failed(error)
            return


def lingering(load, _seed):
    """Reads the whole answer and the server's end of the connection, but does not close its own for a while."""
    while entry := load.begin("lingering", "GET", "/fast"):
        try:
            with load.connect() as connection:
                send(connection, entry, head_of(entry, ["Connection: close"]))
                receive(connection, entry)
                time.sleep(load.options.linger_seconds)
        except (Closed, OSError) as error:
            load.failed(error)


def connection_to(load, pid):
    """A kept-alive connection to the worker process `pid`: others are closed again."""
    while not load.over():
        entry = load.begin("sticky", "GET", "/truth/sleep/0")
        if entry is None:
            return None
        connection = load.connect()
        send(connection, entry, head_of(entry))
        status, headers = connection.head()
        length = int(headers["content-length"])
        while len(connection.buffer) < length:
            connection.fill()
        answer, connection.buffer = connection.buffer[:length], connection.buffer[length:]
        entry["status"], entry["body_bytes"], entry["end_ns"] = status, length, time.monotonic_ns()
        if json.loads(answer)["pid"] == pid:
            return connection
        connection.socket.close()
    return None


def sticky(load, seed):
    """Requests one after another on a connection to one worker process."""
    choice = random.Random(seed)
    while not load.over():
        try:
            connection = connection_to(load, load.options.sticky_pid)
            if connection is None:
                return
            with connection:
                while entry := load.begin("sticky", "GET", choice.choice(list(load.options.routes))):
                    if not exchange(load, connection, entry, last=False):
                        break
        except (Closed, OSError, ValueError) as error:
            load.failed(error)


TLS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context(version):
    """For TLS of this version alone, with whoever answers."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    return made


def weights(text):
    """`a=3,b` → {"a": 3.0, "b": 1.0}."""
    pairs = (part.partition("=") for part in text.split(","))
    return {name: float(value or 1) for name, _, value in pairs}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--address", help="host:port, IPv6 in brackets")
    where.add_argument("--unix", help="path of a UNIX socket")
    parser.add_argument("--tls", choices=list(TLS), help="speak TLS of this version; no certificate is verified")
    parser.add_argument("--seconds", type=float, default=10.0, help="no request starts after this time")
    parser.add_argument("--requests", type=int, default=100_000, help="no more requests than this")
    parser.add_argument("--clients", type=int, default=4, help="ordinary clients, each one connection at a time")
    parser.add_argument("--keep-alive", type=int, default=1, help="requests of one connection; 1 closes after each")
    parser.add_argument("--think-ms", type=float, default=0.0, help="pause between a client's requests")
    parser.add_argument("--every-ms", type=float, default=0.0, help="a client's requests begin at this distance, by the clock")
    parser.add_argument("--spread-seconds", type=float, default=0.0, help="ordinary clients begin within this time")
    parser.add_argument("--upload-bytes", type=int, default=20_000, help="body of a request of the kind `sized`")
    parser.add_argument("--routes", type=weights, default={"/fast": 1.0}, help="/fast=5,/cpu=1")
    parser.add_argument("--kinds", type=weights, default={"get": 1.0}, help="get=5,head,sized,chunked,expect,pipeline")
    parser.add_argument("--slow-bodies", type=int, default=0, help="clients that upload slowly")
    parser.add_argument("--slow-body-bytes", type=int, default=3000)
    parser.add_argument("--slow-body-rate", type=int, default=1000, help="bytes per second")
    parser.add_argument("--slow-heads", type=int, default=0, help="clients that send their head slowly")
    parser.add_argument("--slow-readers", type=int, default=0, help="clients that read 16 MB slowly")
    parser.add_argument("--slow-read-seconds", type=float, default=3.0)
    parser.add_argument("--idle", type=int, default=0, help="clients that connect and send nothing")
    parser.add_argument("--idle-seconds", type=float, default=1.0)
    parser.add_argument("--lingering", type=int, default=0, help="clients that do not close after the answer")
    parser.add_argument("--linger-seconds", type=float, default=1.0)
    parser.add_argument("--sticky", type=int, default=0, help="clients that all use the same worker process")
    parser.add_argument("--sticky-pid", type=int, default=0, help="which one; the application must be demo_app")
    parser.add_argument("--first-id", type=int, default=1_000_001)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=30.0, help="longest wait for one read or write")
    parser.add_argument("--plant-secrets", action="store_true", help="send secrets of all kinds, never to be kept")
    parser.add_argument("--no-requests", action="store_true", help="print the counts alone")
    options = parser.parse_args()
    if options.tls:
        options.tls = context(TLS[options.tls])
    # Shared: nobody reads what lands there.
    options.dropped = bytearray(DROPPED_BYTES)
    return options


def main():
    options = arguments()
    load = Load(options)
    clients = [
        (ordinary, options.clients),
        (slow_body, options.slow_bodies),
        (slow_head, options.slow_heads),
        (slow_reader, options.slow_readers),
        (idle, options.idle),
        (lingering, options.lingering),
        (sticky, options.sticky),
    ]
    threads = [
        threading.Thread(target=client, args=(load, options.seed * 1000 + number), daemon=True)
        for client, count in clients
        for number in range(count)
    ]
    signal.signal(signal.SIGTERM, lambda *_: load.stop())
    start = time.monotonic_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = [entry for entry in load.requests if entry["status"] is not None]
    summary = {
        "start_ns": start,
        "end_ns": time.monotonic_ns(),
        "counts": {
            "sent": sum("sent_ns" in entry for entry in load.requests),
            "answered": len(answered),
            "connections": load.connections,
            "errors": load.errors,
        },
    }
    if not options.no_requests:
        summary["requests"], summary["unsent"] = load.requests, load.unsent
    json.dump(summary, sys.stdout)
    print()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
