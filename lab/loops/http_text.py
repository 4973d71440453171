"""HTTP/1.1 as text, for servers that are no more than a loop and its connections.

In: a stream with an asynchronous `readline`. Out: path and wish of a request; bytes of responses.
"""

from work import BODY

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


async def read_head(stream):
    """The path of the next request, if there is one, and whether its connection ends with it."""
    line = await stream.readline()
    closes = False
    while line:
        header = await stream.readline()
        if header in (b"\r\n", b""):
            return line.split()[1].decode(), closes
        closes |= header.lower().startswith(b"connection: close")
    return None, True


def framed(chunk):
    """A chunk as it is sent."""
    return b"%x\r\n%s\r\n" % (len(chunk), chunk)
