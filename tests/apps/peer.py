"""A back end that is no good: its connections get stuck, each kind in a state of its own, by a filter on its own socket.

In: `unreached` (it drops whoever wants to connect), `dead` (it drops what it is sent, and acknowledges nothing) or `full` (it reads nothing).
Out: a line `ready PORT`. It ends after a minute.
"""

import ctypes
import socket
import struct
import sys
import threading
import time

LONGEST_SECONDS = 60
SO_ATTACH_FILTER = 26
BUFFER_BYTES = 4096
# Classic BPF (linux/filter.h), on a segment from its TCP header on.
DROP = (0x06, 0, 0, 0)
DROP_ALL = [DROP]
# The header's length from its byte 12; what is not longer than its header passes.
DROP_DATA = [(0x30, 0, 0, 12), (0x54, 0, 0, 0xF0), (0x74, 0, 0, 2), (0x07, 0, 0, 0), (0x80, 0, 0, 0), (0x1D, 0, 1, 0), (0x06, 0, 0, 0xFFFFFFFF), DROP]


def attach(listener, instructions):
    """Connections that are accepted inherit it."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in instructions))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(instructions), ctypes.addressof(program)))


def accept(listener, kept):
    while True:
        kept.append(listener.accept())


def main():
    kind = sys.argv[1]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    if kind != "full":
        attach(listener, {"unreached": DROP_ALL, "dead": DROP_DATA}[kind])
    threading.Thread(target=accept, args=(listener, []), daemon=True).start()
    print("ready", listener.getsockname()[1], flush=True)
    time.sleep(LONGEST_SECONDS)


if __name__ == "__main__":
    main()
