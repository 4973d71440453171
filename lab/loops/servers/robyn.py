"""robyn: a native loop reads and writes, another one of Python's runs handlers.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

from notes import Note
from robyn import Robyn, StreamingResponse
from work import BODY, PORT, act, chunks

app = Robyn(__file__)


@app.get("/:kind/:number")
async def handle(request):
    """Answers a request."""
    note = Note(request.url.path)
    if note.kind == "stream":
        return StreamingResponse(content=decoded(chunks(note)), media_type="text/plain")
    await act(note)
    note.finish()
    return BODY.decode()


async def decoded(parts):
    """Chunks as text."""
    async for part in parts:
        yield part.decode()


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=PORT)
