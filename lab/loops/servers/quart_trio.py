"""quart-trio under hypercorn, on trio.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from notes import Note
from quart import request
from quart_trio import QuartTrio
from work import BACK_END, BODY, PORT, QUESTION, act, chunks

app = QuartTrio("loops")


class Trio:
    """Calls of trio."""

    sleep = staticmethod(trio.sleep)

    @staticmethod
    async def ask():
        """The back end's answer."""
        stream = await trio.open_tcp_stream(*BACK_END)
        await stream.send_all(QUESTION)
        answer = await stream.receive_some(100)
        await stream.aclose()
        return answer

    @staticmethod
    async def in_thread(function, argument):
        """Runs a function on a thread of trio's pool."""
        await trio.to_thread.run_sync(function, argument)


@app.get("/<path:path>")
async def handle(path):
    """Answers a request."""
    note = Note(request.path)
    if note.kind == "stream":
        return chunks(note, Trio), 200, {"Content-Type": "text/plain"}
    await act(note, Trio)
    note.finish()
    return BODY


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.accesslog = None
    trio.run(serve, app, config)
