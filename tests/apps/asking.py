"""An application that asks a back end in the middle of sleeps, and notes when, by its own clock.

In, from the environment: BACKEND_ADDRESS (host:port of a back end that answers a line `MS ID` with a line, after MS milliseconds), WITNESS_FILE
(a JSON line for each question is appended there), READY_FILE. Out: `app` (WSGI) and `application` (ASGI), with one route:

/ask/SLEEP/MS/REST/ID   sleeps SLEEP milliseconds, asks the back end for MS, sleeps REST milliseconds (0: answers at once)

A note holds `id`, `port` (the own one of the connection to the back end), and by CLOCK_MONOTONIC `called_ns` (the application is called), `asks_ns` (it
is about to connect), `asked_ns` (its question is sent), `answered_ns` (it has the answer) and `returned_ns`.
"""

import asyncio
import json
import os
import socket
import time

HOST, PORT = os.environ["BACKEND_ADDRESS"].rsplit(":", 1)
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "3")]


def parts_of(path):
    """How long to sleep, what to ask for, how long to sleep afterwards (each in milliseconds), and the id."""
    _, sleep, milliseconds, rest, unique = path.strip("/").split("/")
    return float(sleep), float(milliseconds), float(rest), unique


def write(note):
    # One write to a descriptor opened for appending keeps lines whole.
    descriptor = os.open(os.environ["WITNESS_FILE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, (json.dumps(note) + "\n").encode())
    finally:
        os.close(descriptor)


def ask(milliseconds, unique, note):
    note["asks_ns"] = time.monotonic_ns()
    with socket.create_connection((HOST, int(PORT)), timeout=70) as connection:
        note["port"] = connection.getsockname()[1]
        connection.sendall(f"{milliseconds:g} {unique}\n".encode())
        note["asked_ns"] = time.monotonic_ns()
        while not connection.recv(4096).endswith(b"\n"):
            pass
        note["answered_ns"] = time.monotonic_ns()


def app(environ, start_response):
    sleep, milliseconds, rest, unique = parts_of(environ["PATH_INFO"])
    note = {"id": unique, "called_ns": time.monotonic_ns()}
    time.sleep(sleep / 1000)
    ask(milliseconds, unique, note)
    if rest:
        time.sleep(rest / 1000)
    note["returned_ns"] = time.monotonic_ns()
    write(note)
    start_response("200 OK", HEADERS)
    return [b"ok\n"]


async def ask_as_task(milliseconds, unique, note):
    note["asks_ns"] = time.monotonic_ns()
    reader, writer = await asyncio.open_connection(HOST, int(PORT))
    note["port"] = writer.get_extra_info("sockname")[1]
    writer.write(f"{milliseconds:g} {unique}\n".encode())
    note["asked_ns"] = time.monotonic_ns()
    await reader.readline()
    note["answered_ns"] = time.monotonic_ns()
    writer.close()


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    sleep, milliseconds, rest, unique = parts_of(scope["path"])
    note = {"id": unique, "called_ns": time.monotonic_ns()}
    await asyncio.sleep(sleep / 1000)
    await ask_as_task(milliseconds, unique, note)
    if rest:
        await asyncio.sleep(rest / 1000)
    note["returned_ns"] = time.monotonic_ns()
    write(note)
    headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok\n"})


if os.environ.get("READY_FILE"):
    with open(os.environ["READY_FILE"], "a", encoding="ascii") as ready:
        ready.write(f"{os.getpid()}\n")
