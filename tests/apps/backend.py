"""A small TCP back end on loopback: answers a line holding a number of milliseconds after that time; with a question mark before the
number by one byte, as PostgreSQL answers whether it encrypts.

In: `--port` (0: any free one). Out: one line `listening PORT` on standard output, then answers until it is ended.
"""

import argparse
import asyncio


async def answer(reader, writer):
    try:
        while line := await reader.readline():
            await asyncio.sleep(min(float(line.lstrip(b"?")), 60_000.0) / 1000)
            writer.write(b"N" if line.startswith(b"?") else b"done " + line.strip() + b"\n")
            await writer.drain()
    except (ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def serve(port):
    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=512)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    try:
        asyncio.run(serve(parser.parse_args().port))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
