"""Watches servers with event loops under a small load on loopback, and prints how right their phases are.

In: servers, modes, loads, kinds of requests and a seed, each with a default; root; a release binary of
wsgi-trace, by the environment variable WSGI_TRACE_BINARY or in `target/release`. Out: a folder for each run
below `target/loops`, which judge.py can read once more, and the table as Markdown on standard output. What
the servers need is installed below `.tools/loops`, once.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import judge
from notes import KINDS, TAKE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = ROOT / ".tools/loops"
REQUIREMENTS = HERE / "requirements.txt"

# In the order of the draw; the last one is known and is there to compare.
SERVERS = (
    "sanic",
    "aiohttp",
    "tornado",
    "microdot",
    "own",
    "blacksheep",
    "eventlet",
    "bjoern",
    "robyn",
    "curio",
    "fastwsgi",
    "quart_trio",
    "blacksheep_uvloop",
)
MODES = {"full": [], "light": ["--light"]}
# Clients, and what they do with connections.
LOADS = {
    "kept-6": ["--clients", "6", "--keep"],
    "new-6": ["--clients", "6"],
    "kept-1": ["--clients", "1", "--keep"],
    "kept-3": ["--clients", "3", "--keep"],
}
USUAL_LOADS = ("kept-6", "new-6", "kept-1")

# The load begins before the trace and ends after it.
LOAD_SECONDS, AHEAD_SECONDS, TRACE_SECONDS = 11, 0.7, 7
TRACE_ENDS_SECONDS, LOAD_ENDS_SECONDS, SERVER_ENDS_SECONDS = 90, 30, 5
ANSWER_SECONDS = 5
TRIES, PAUSE_SECONDS = 100, 0.1
# Numbers of requests are apart from one load to the next.
FIRST, NEXT_LOAD = 1000, 10_000


class Server:
    """A server that runs, with its back end."""

    def __init__(self, name, pid, port):
        self.name, self.pid, self.port = name, pid, port
        self.first = FIRST

    def get(self, path):
        """Asks once."""
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=ANSWER_SECONDS).read()

    def wait(self):
        """Waits until it answers."""
        for _ in range(TRIES):
            try:
                return self.get("/hello/0")
            except OSError:
                time.sleep(PAUSE_SECONDS)
        raise SystemExit(f"{self.name} does not answer: see its log")


def python():
    """The Python that has the servers; makes it where it is not there, or is of other versions."""
    stamp = VENV / "requirements.txt"
    wanted = REQUIREMENTS.read_bytes()
    interpreter = VENV / "bin/python"
    if not stamp.exists() or stamp.read_bytes() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        install = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--requirement", REQUIREMENTS], check=True)
        stamp.write_bytes(wanted)
    return interpreter


def binary():
    """The program that is judged."""
    path = Path(os.environ.get("WSGI_TRACE_BINARY", ROOT / "target/release/wsgi-trace"))
    if not path.is_file():
        raise SystemExit(f"there is no {path}: `cargo build --release`, or set WSGI_TRACE_BINARY")
    return path.resolve()


def free_port():
    """A port of loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def process(arguments, environment, log):
    """A program that runs until the end of the block."""
    child = subprocess.Popen(arguments, cwd=HERE, env=environment, stdout=log, stderr=log)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(SERVER_ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def served(name, kinds, folder):
    """A server that has answered a request of each kind."""
    port, back_end_port = free_port(), free_port()
    environment = os.environ | {
        "PORT": str(port),
        "BACK_END_PORT": str(back_end_port),
        "NOTES_DIRECTORY": str(folder),
        "PYTHONUNBUFFERED": "1",
    }
    with ExitStack() as stack:
        log = stack.enter_context(open(folder / "server.log", "w", encoding="utf-8"))
        stack.enter_context(process([python(), "backend.py"], environment, log))
        child = stack.enter_context(process([python(), "-m", f"servers.{name}"], environment, log))
        server = Server(name, child.pid, port)
        server.wait()
        for kind in kinds:
            server.get(f"/{kind}/1")
        yield server


def record(server, mode, load, options, folder):
    """Watches a server under a load. A folder with the report and the notes."""
    run = folder / f"{mode}-{load}"
    run.mkdir()
    server.get(f"/{TAKE}/before")
    with open(run / "load.json", "w", encoding="utf-8") as answers:
        clients = subprocess.Popen(load_command(server, load, options), stdout=answers)
        time.sleep(AHEAD_SECONDS)
        trace(server, mode, run)
        clients.wait(LOAD_ENDS_SECONDS)
    server.first += NEXT_LOAD
    server.get(f"/{TAKE}/notes")
    (folder / "notes.ndjson").rename(run / "notes.ndjson")
    (folder / "before.ndjson").unlink()
    failed = json.loads((run / "load.json").read_text(encoding="utf-8"))["failed"]
    warning = f", {failed} requests failed" if failed else ""
    print(f"[loops] {server.name}, {mode}, {load}: recorded{warning}", file=sys.stderr)
    return run


def load_command(server, load, options):
    """The clients of a load."""
    command = [sys.executable, HERE / "load.py", "--port", str(server.port), *LOADS[load]]
    command += ["--seconds", str(LOAD_SECONDS), "--kinds", ",".join(options.kinds)]
    return [*command, "--first", str(server.first), "--seed", str(options.seed)]


def trace(server, mode, run):
    """Writes the report and the recording."""
    command = [binary(), "--pid", str(server.pid), "--duration", f"{TRACE_SECONDS}s", *MODES[mode]]
    command += ["--format", "ndjson", "-o", run / "requests.ndjson", "--record", run / "recording.wtrace"]
    with open(run / "trace.log", "w", encoding="utf-8") as log:
        subprocess.run(command, stdout=log, stderr=log, timeout=TRACE_ENDS_SECONDS, check=True)


def chosen(known):
    """A type of options: some of these names, with commas between them."""

    def parse(text):
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


def options_of(arguments):
    """What is to be run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--servers", type=chosen(SERVERS), default=SERVERS)
    parser.add_argument("--modes", type=chosen(MODES), default=list(MODES))
    parser.add_argument("--loads", type=chosen(LOADS), default=USUAL_LOADS)
    parser.add_argument("--kinds", type=chosen(KINDS), default=KINDS)
    parser.add_argument("--seed", type=int, default=0, help="of what clients draw")
    parser.add_argument("--output", type=Path, default=ROOT / "target/loops")
    return parser.parse_args(arguments)


def main():
    """Runs every server in every mode under every load, then judges."""
    options = options_of(sys.argv[1:])
    binary()
    runs = []
    for name in options.servers:
        folder = options.output.resolve() / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with served(name, options.kinds, folder) as server:
            for mode in options.modes:
                runs += [record(server, mode, load, options, folder) for load in options.loads]
    print(judge.table(runs))


if __name__ == "__main__":
    main()
