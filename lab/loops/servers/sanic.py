"""sanic: its own server, one process, on uvloop.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

from notes import Note
from sanic import Sanic
from sanic.response import raw
from work import BODY, PORT, act, chunks

app = Sanic("loops")


@app.get("/<path:path>")
async def handle(request, path):
    """Answers a request."""
    note = Note(request.path)
    if note.kind == "stream":
        response = await request.respond(content_type="text/plain")
        async for chunk in chunks(note):
            await response.send(chunk)
        await response.eof()
        return None
    await act(note)
    note.finish()
    return raw(BODY)


if __name__ == "__main__":
    app.run("127.0.0.1", PORT, single_process=True, access_log=False, motd=False, debug=False)
