"""The application as WSGI.

In: requests `/KIND/NUMBER`. Out: their responses, and notes.
"""

from notes import Note
from work import BODY, Blocking, act_blocking, chunks_blocking

PLAIN = ("Content-Type", "text/plain")


def application(calls):
    """The application with a server's own calls."""

    def handle(environ, start_response):
        note = Note(environ["PATH_INFO"])
        if note.kind == "stream":
            start_response("200 OK", [PLAIN])
            return chunks_blocking(note, calls)
        act_blocking(note, calls)
        note.finish()
        start_response("200 OK", [PLAIN, ("Content-Length", str(len(BODY)))])
        return [BODY]

    return handle


blocking = application(Blocking)
