"""A server of this folder: asyncio.start_server and a little HTTP.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

import asyncio

from http_text import ANSWER, STREAM_END, STREAM_HEAD, framed, read_head
from notes import Note
from work import PORT, act, chunks


async def serve(reader, writer):
    """Answers the requests of a connection."""
    closes = False
    try:
        while not closes:
            path, closes = await read_head(reader)
            if path:
                await answer(Note(path), writer)
                await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def answer(note, writer):
    """Answers a request."""
    if note.kind == "stream":
        writer.write(STREAM_HEAD)
        async for chunk in chunks(note):
            writer.write(framed(chunk))
            await writer.drain()
        writer.write(STREAM_END)
    else:
        await act(note)
        writer.write(ANSWER)
        note.finish()


async def main():
    """Serves until it is ended."""
    async with await asyncio.start_server(serve, "127.0.0.1", PORT) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
