"""`witnessed.app` on one thread that waits for whatever is ready: it reads, runs the application at once, and writes when the connection can be written.

In: host and port. Out: answers until it is ended.

A response is written one wait later at the earliest, so that applications of several connections run between the read and the write of one.
"""

import select
import socket
import sys

import plain_http
import witnessed


def main():
    listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    connections = {}

    def close(number):
        epoll.unregister(number)
        connections.pop(number)[0].close()

    def read(number):
        connection, requests, unsent = connections[number]
        received = connection.recv(65536)
        if not received:
            close(number)
            return
        environ = requests.take(received)
        if environ is not None:
            unsent.append(plain_http.answer(witnessed.app, environ))
            epoll.modify(number, select.EPOLLOUT)

    def write(number):
        connection, _, unsent = connections[number]
        response = unsent.pop()
        rest = response[connection.send(response):]
        if rest:
            unsent.append(rest)
        else:
            epoll.modify(number, select.EPOLLIN)

    while True:
        ready = epoll.poll()
        for number, events in ready:
            try:
                if number == listener.fileno():
                    try:
                        connection, _ = listener.accept()
                    except BlockingIOError:
                        continue
                    connection.setblocking(False)
                    connections[connection.fileno()] = (connection, plain_http.Requests(), [])
                    epoll.register(connection, select.EPOLLIN)
                elif events & select.EPOLLOUT:
                    write(number)
                else:
                    read(number)
            except ConnectionError:
                close(number)


main()
