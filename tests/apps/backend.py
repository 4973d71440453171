"""A small TCP back end on loopback: answers a line holding a number of milliseconds after that time; with a question mark before the
number by one byte, as PostgreSQL answers whether it encrypts. With a plus sign before the number it takes four times as long from the
QUICK-th such question on, with an asterisk it computes for that time, with an equals sign it answers one such question after the other. Beside
it stands a name server: it answers a datagram with such a number.

In: `--port` (0: any free one), or `--inherited`: a socket that listens already is its standard input, `--unix PATH`: it listens there. Out: one line
`listening PORT` or `listening PATH` on standard output, then answers until it is ended.
"""

import argparse
import asyncio
import itertools
import socket
import time

# Questions with a plus sign that are answered quickly.
QUICK = 150
PLUS = itertools.count()
ONE_AT_A_TIME = asyncio.Lock()


def seconds_for(line):
    milliseconds = float(line.lstrip(b"?+*="))
    slower = 4 if line.startswith(b"+") and next(PLUS) >= QUICK else 1
    return min(milliseconds * slower, 60_000.0) / 1000


def compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def answer(reader, writer):
    try:
        while line := await reader.readline():
            if line.startswith(b"*"):
                compute(seconds_for(line))
            elif line.startswith(b"="):
                async with ONE_AT_A_TIME:
                    await asyncio.sleep(seconds_for(line))
            else:
                await asyncio.sleep(seconds_for(line))
            writer.write(b"N" if line.startswith(b"?") else b"done " + line.strip() + b"\n")
            await writer.drain()
    except (ConnectionError, ValueError):
        pass
    finally:
        writer.close()


class Names(asyncio.DatagramProtocol):
    """Sends each datagram back after the number of milliseconds that it holds."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        try:
            seconds = min(float(data), 60_000.0) / 1000
        except ValueError:
            return
        asyncio.get_running_loop().call_later(seconds, self.transport.sendto, data, address)


def name_server(port):
    """Where the name server beside the back end of this port listens: name servers have one port, so it has an address of its own."""
    return f"127.77.{port >> 8}.{port & 255}", 53


def listener(options):
    if options.inherited:
        return socket.socket(fileno=0)
    return socket.create_server(("127.0.0.1", options.port))


async def serve(options):
    if options.unix:
        server = await asyncio.start_unix_server(answer, options.unix, backlog=512)
        print("listening", options.unix, flush=True)
        async with server:
            await server.serve_forever()
    server = await asyncio.start_server(answer, sock=listener(options), backlog=512)
    port = server.sockets[0].getsockname()[1]
    try:
        await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=name_server(port))
    except OSError:
        pass  # Low ports are root's, and so are the tests that ask there.
    print("listening", port, flush=True)
    async with server:
        await server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--inherited", action="store_true")
    parser.add_argument("--unix")
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
