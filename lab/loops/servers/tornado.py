"""tornado: its own server and its own loop, which is asyncio's below.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

import asyncio

import tornado.gen
import tornado.tcpclient
import tornado.web
from notes import Note
from tornado.ioloop import IOLoop
from work import BACK_END, BODY, PORT, QUESTION, act, chunks


class Tornado:
    """Calls of tornado."""

    sleep = staticmethod(tornado.gen.sleep)

    @staticmethod
    async def ask():
        """The back end's answer."""
        stream = await tornado.tcpclient.TCPClient().connect(*BACK_END)
        await stream.write(QUESTION)
        answer = await stream.read_until(b"\n")
        stream.close()
        return answer

    @staticmethod
    async def in_thread(function, argument):
        """Runs a function on a thread of the loop's executor."""
        await IOLoop.current().run_in_executor(None, function, argument)


class Handler(tornado.web.RequestHandler):
    """Answers requests."""

    async def get(self):
        """Answers a request."""
        note = Note(self.request.path)
        if note.kind == "stream":
            async for chunk in chunks(note, Tornado):
                self.write(chunk)
                await self.flush()
            return
        await act(note, Tornado)
        note.finish()
        self.write(BODY)


async def main():
    """Serves until it is ended."""
    application = tornado.web.Application([(r"/.*", Handler)], log_function=lambda handler: None)
    application.listen(PORT, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
