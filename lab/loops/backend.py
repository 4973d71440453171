"""A back end on loopback that answers each line after 20 ms.

In: its port, by the environment variable BACK_END_PORT. Out: for each line one with the moment of the answer,
in ns of CLOCK_MONOTONIC, until it is ended.
"""

import asyncio
import time

from work import BACK_END, SECONDS


async def serve(reader, writer):
    """Answers one client."""
    try:
        while await reader.readline():
            await asyncio.sleep(SECONDS)
            writer.write(b"%d\n" % time.monotonic_ns())
    except ConnectionError:
        pass
    writer.close()


async def main():
    """Serves until it is ended."""
    async with await asyncio.start_server(serve, *BACK_END) as server:
        await server.serve_forever()


asyncio.run(main())
