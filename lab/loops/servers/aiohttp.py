"""aiohttp: its own server, on asyncio's loop.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

from aiohttp import web
from notes import Note
from work import BODY, PORT, act, chunks


async def handle(request):
    """Answers a request."""
    note = Note(request.path)
    if note.kind == "stream":
        return await stream(request, note)
    await act(note)
    note.finish()
    return web.Response(body=BODY)


async def stream(request, note):
    """Sends chunks."""
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    async for chunk in chunks(note):
        await response.write(chunk)
    await response.write_eof()
    return response


app = web.Application()
app.router.add_get("/{path:.*}", handle)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, print=None)
