"""microdot: its own server, on asyncio's loop.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

from microdot import Microdot
from notes import Note
from work import BODY, PORT, act, chunks

app = Microdot()


@app.get("/<path:path>")
async def handle(request, path):
    """Answers a request."""
    note = Note(request.path)
    if note.kind == "stream":
        return chunks(note)
    await act(note)
    note.finish()
    return BODY


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=PORT)
