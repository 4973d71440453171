"""Clients on loopback, each with one request at a time and a pause of 10 ms after it.

In: a port, how many clients, whether they keep connections, seconds, kinds of requests, the number of the
first request, a seed. At most MOST requests. Out: one line of JSON: how many were answered, how many failed.
"""

import argparse
import http.client
import itertools
import json
import random
import threading
import time

MOST = 8000
PAUSE_SECONDS = 0.01
TIMEOUT_SECONDS = 5
# Clients of two seeds draw nothing alike.
CLIENTS_OF_A_SEED = 1000


class Load:
    """All clients and what became of their requests."""

    def __init__(self, options):
        self.options = options
        self.kinds = options.kinds.split(",")
        self.numbers = itertools.count(options.first)
        self.end = time.monotonic() + options.seconds
        self.answered = self.failed = 0
        self.lock = threading.Lock()

    def run(self):
        """Runs all clients to their end."""
        clients = [threading.Thread(target=self.client, args=(name,)) for name in range(self.options.clients)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def client(self, name):
        """One client."""
        draw = random.Random(self.options.seed * CLIENTS_OF_A_SEED + name)
        connection = None
        while time.monotonic() < self.end and self.answered + self.failed < MOST:
            path = f"/{draw.choice(self.kinds)}/{next(self.numbers)}"
            connection, is_answered = self.request(connection, path)
            with self.lock:
                self.answered += is_answered
                self.failed += not is_answered
            time.sleep(PAUSE_SECONDS)

    def request(self, connection, path):
        """Asks once. The connection for the next request, if any, and whether there was an answer of 200."""
        connection = connection or http.client.HTTPConnection(
            "127.0.0.1", self.options.port, timeout=TIMEOUT_SECONDS
        )
        try:
            connection.request("GET", path, headers={} if self.options.keep else {"Connection": "close"})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None, False
        if not self.options.keep or response.will_close:
            connection.close()
            connection = None
        return connection, response.status == 200


def main():
    """Reads the options and runs the load."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--keep", action="store_true", help="keep connections")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--kinds", required=True)
    parser.add_argument("--first", type=int, required=True, help="number of the first request")
    parser.add_argument("--seed", type=int, required=True)
    load = Load(parser.parse_args())
    load.run()
    print(json.dumps({"answered": load.answered, "failed": load.failed}))


main()
