"""Clients that all connect at once, and what each of them saw.

In: a host, a port, how many, how long each may take in seconds, and how many SYNs to send besides without ever answering
(they need a raw socket). Out: one JSON object a client and line: `connect_ns` until it was connected, `status`, or `error`.
"""

import json
import random
import socket
import struct
import sys
import threading
import time


def client(host, port, limit, number, seen):
    note = {"client": number}
    started = time.monotonic_ns()
    try:
        with socket.create_connection((host, port), timeout=limit) as connection:
            note["connect_ns"] = time.monotonic_ns() - started
            connection.sendall(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % number)
            note["status"] = int(connection.recv(4096).split(b" ", 2)[1])
    except (OSError, IndexError) as error:
        note["error"] = str(error)
    seen.append(note)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def flood(port, count):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    there = socket.inet_aton("127.0.0.1")
    for _ in range(count):
        here = bytes([127, random.randrange(1, 255), random.randrange(256), random.randrange(1, 255)])
        fields = [random.randrange(1024, 65536), port, random.randrange(2**32), 0, 5 << 4, 2, 65535, 0, 0]
        pseudo = here + there + struct.pack("!BBH", 0, socket.IPPROTO_TCP, 20)
        fields[7] = checksum(pseudo + struct.pack("!HHIIBBHHH", *fields))
        segment = struct.pack("!HHIIBBHHH", *fields)
        # The kernel fills in what is left of the IP header.
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0, here, there)
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        raw.sendto(header + segment, ("127.0.0.1", 0))


def main():
    host, port, count, limit, syns = sys.argv[1], *map(int, sys.argv[2:6])
    seen = []
    threads = [threading.Thread(target=client, args=(host, port, limit, number, seen)) for number in range(count)]
    for thread in threads:
        thread.start()
    if syns:
        flood(port, syns)
    for thread in threads:
        thread.join()
    for note in sorted(seen, key=lambda note: note["client"]):
        print(json.dumps(note))


main()
