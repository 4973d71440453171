"""blacksheep under uvicorn, on asyncio's loop.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

from functools import partial

import uvicorn
from blacksheep import Application, Content, Response, StreamedContent
from notes import Note
from work import BODY, PORT, act, chunks

app = Application()
PLAIN = b"text/plain"


async def handle(request):
    """Answers a request."""
    note = Note(request.url.path.decode())
    if note.kind == "stream":
        return Response(200, content=StreamedContent(PLAIN, partial(chunks, note)))
    await act(note)
    note.finish()
    return Response(200, content=Content(PLAIN, BODY))


app.router.add_get("*", handle)


def serve(loop):
    """Serves until it is ended, on the loop of this name."""
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False, loop=loop)


if __name__ == "__main__":
    serve("asyncio")
