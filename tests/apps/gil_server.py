"""A WSGI server whose requests compute and sleep by turns, for tests of the interpreter lock on any CPython.

In: name of the server (gunicorn, waitress), `demo` after it for the application of demo_app.py. Out: its port on standard output.
"""
import sys
import time


def app(environ, start_response):
    total = 0
    for step in range(4_000):
        total += step * step
    time.sleep(0.001)
    body = b"ok"
    start_response("200 OK", [("Content-Length", "2"), ("Content-Type", "text/plain")])
    return [body]


def waitress():
    from waitress import create_server

    server = create_server(app, host="127.0.0.1", port=0, threads=8)
    print(server.effective_port, flush=True)
    server.run()


def gunicorn():
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):
        def load_config(self):
            settings = {
                "bind": "127.0.0.1:0",
                "worker_class": "gthread",
                "workers": 1,
                "threads": 8,
                "post_worker_init": lambda worker: print(worker.sockets[0].getsockname()[1], flush=True),
            }
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self):
            return app

    Server().run()


if __name__ == "__main__":
    if sys.argv[2:] == ["demo"]:
        from demo_app import app
    {"gunicorn": gunicorn, "waitress": waitress}[sys.argv[1]]()
