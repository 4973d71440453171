"""`witnessed.app` on asyncio, each request in a task of its own that runs the application, and then wakes the loop to have the response written.

In: host and port. Out: answers until it is ended.

The wakeup comes from the loop's own thread (`call_soon_threadsafe`), as from servers that run an application in a thread if they can and in the
loop if they must.
"""

import asyncio
import sys

import plain_http
import witnessed


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.requests = transport, plain_http.Requests()

    def data_received(self, data):
        environ = self.requests.take(data)
        if environ is not None:
            self.task = asyncio.ensure_future(self.run(environ))

    async def run(self, environ):
        response = plain_http.answer(witnessed.app, environ)
        asyncio.get_running_loop().call_soon_threadsafe(self.transport.write, response)


async def main():
    server = await asyncio.get_running_loop().create_server(Connection, sys.argv[1], int(sys.argv[2]))
    await server.serve_forever()


asyncio.run(main())
