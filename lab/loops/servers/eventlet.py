"""eventlet: its own WSGI server, greenlets on its own loop.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

import eventlet
import eventlet.tpool
import eventlet.wsgi
from eventlet.green import socket
from work import BACK_END, PORT, QUESTION
from wsgi_application import application


class Eventlet:
    """Calls of eventlet."""

    sleep = staticmethod(eventlet.sleep)
    sleeping = "sleep"

    @staticmethod
    def ask():
        """The back end's answer."""
        connection = socket.create_connection(BACK_END)
        connection.sendall(QUESTION)
        answer = connection.makefile("rb").readline()
        connection.close()
        return answer

    @staticmethod
    def in_thread(function, argument):
        """Runs a function on a thread of eventlet's pool."""
        eventlet.tpool.execute(function, argument)


if __name__ == "__main__":
    eventlet.wsgi.server(eventlet.listen(("127.0.0.1", PORT)), application(Eventlet), log_output=False)
