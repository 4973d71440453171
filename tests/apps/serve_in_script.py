"""A program that starts a server itself, or only imports some and listens.

In: which server, host, port, threads, the path of a file. Out: answers until it is ended; in the file, as the
interpreter says it: the package in whose code the main thread stands, that package's version, and how the
program was started.
"""

import gc
import importlib.metadata
import os
import socket
import socketserver
import sys
import threading
import time

which, host, port, threads, told = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
STANDARD = sys.stdlib_module_names | {"__main__", "serve_in_script"}


def app(environ, start_response):
    time.sleep(0.05)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def tell():
    """Waits until somebody accepts, and says in whose code the main thread stands."""
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            break
        except OSError:
            time.sleep(0.01)
    frame = sys._current_frames()[threading.main_thread().ident]
    names = []
    while frame:
        names.append(frame.f_globals["__name__"].split(".")[0])
        frame = frame.f_back
    package = next((name for name in names if name not in STANDARD), "none")
    version = importlib.metadata.version(package) if package != "none" else "none"
    if package == "none" and "socketserver" in names:
        # The standard library's servers share this code: the class of the server says whose it is.
        server = next(held for held in gc.get_objects() if isinstance(held, socketserver.BaseServer))
        modules = {base.__module__.split(".")[0] for base in type(server).__mro__}
        package = "wsgiref" if "wsgiref" in modules else "none"
    with open(told + ".new", "w") as file:
        file.write(f"{package} {version}")
    os.rename(told + ".new", told)


def serve():
    if which == "waitress":
        import waitress

        waitress.serve(app, host=host, port=port, threads=threads, _quiet=True)
    elif which == "cheroot":
        from cheroot import wsgi

        wsgi.Server((host, port), app, numthreads=threads).start()
    elif which == "cherrypy":
        import cherrypy

        cherrypy.tree.graft(app, "/")
        cherrypy.config.update(
            {
                "server.socket_host": host,
                "server.socket_port": port,
                "server.thread_pool": threads,
                "engine.autoreload.on": False,
            }
        )
        cherrypy.engine.start()
        cherrypy.engine.block()
    elif which == "uvicorn":
        import uvicorn

        uvicorn.run(app, host=host, port=port, interface="wsgi", log_level="error")
    elif which == "werkzeug":
        from flask import Flask

        Flask("in_script").run(host, port)
    elif which == "django":
        from django.conf import settings
        from django.core.management import execute_from_command_line

        settings.configure(DEBUG=True, ROOT_URLCONF="in_script", ALLOWED_HOSTS=["*"])
        sys.modules["in_script"] = type(sys)("in_script")
        sys.modules["in_script"].urlpatterns = []
        execute_from_command_line(["manage.py", "runserver", "--noreload", f"{host}:{port}"])
    elif which == "wsgiref":
        from socketserver import ThreadingMixIn
        from wsgiref.simple_server import WSGIServer, make_server

        class Threading(ThreadingMixIn, WSGIServer):
            pass

        make_server(host, port, app, Threading).serve_forever()
    elif which == "http":
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        ThreadingHTTPServer((host, port), BaseHTTPRequestHandler).serve_forever()
    elif which == "none":
        import cheroot.wsgi
        import uvicorn
        import waitress.server

        # It has a server of each, and starts none.
        idle = waitress.server.create_server(app, host=host, port=0), cheroot.wsgi.Server((host, 0), app)
        uvicorn.Config(app), idle
        listener = socket.create_server((host, port))
        while True:
            listener.accept()


threading.Thread(target=tell, daemon=True).start()
serve()
