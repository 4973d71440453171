"""A server of this folder on curio: curio.tcp_server and a little HTTP.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

import curio
from http_text import ANSWER, STREAM_END, STREAM_HEAD, framed, read_head
from notes import Note
from work import BACK_END, PORT, QUESTION, act, chunks


class Curio:
    """Calls of curio."""

    sleep = staticmethod(curio.sleep)

    @staticmethod
    async def ask():
        """The back end's answer."""
        connection = await curio.open_connection(*BACK_END)
        await connection.sendall(QUESTION)
        answer = await connection.recv(100)
        await connection.close()
        return answer

    @staticmethod
    async def in_thread(function, argument):
        """Runs a function on a thread of curio's pool."""
        await curio.run_in_thread(function, argument)


async def serve(client, address):
    """Answers the requests of a connection."""
    stream = client.as_stream()
    closes = False
    try:
        while not closes:
            path, closes = await read_head(stream)
            if path:
                await answer(Note(path), client)
    except ConnectionError:
        pass


async def answer(note, client):
    """Answers a request."""
    if note.kind == "stream":
        await client.sendall(STREAM_HEAD)
        async for chunk in chunks(note, Curio):
            await client.sendall(framed(chunk))
        await client.sendall(STREAM_END)
    else:
        await act(note, Curio)
        await client.sendall(ANSWER)
        note.finish()


if __name__ == "__main__":
    curio.run(curio.tcp_server, "127.0.0.1", PORT, serve)
