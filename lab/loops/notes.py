"""Notes of what each request did, by CLOCK_MONOTONIC: the truth that its phases are judged by.

In: paths `/KIND/NUMBER` of requests, and the directory of the environment variable NOTES_DIRECTORY.
Out: after a request for `/take/NAME` a file NAME.ndjson there, a line of JSON for each request since the last
such file: its path, kind, begin, end, and steps. A step has a name, begin, end, and maybe CPU time of its
thread (`cpu_ns`) or the moment at which the back end answered (`answered_ns`).
"""

import contextlib
import json
import os
import time
from pathlib import Path

KINDS = ("compute", "block", "sleep", "ask", "hello", "thread", "stream")
TAKE = "take"

notes = {}


class Note:
    """What one request did."""

    def __init__(self, path):
        self.path = path
        self.kind, _, name = path.strip("/").partition("/")
        self.steps = []
        self.begin_ns = time.monotonic_ns()
        self.end_ns = None
        if self.kind == TAKE:
            take(name)
        else:
            notes[path] = self

    @contextlib.contextmanager
    def step(self, what):
        """Notes what is done within, as a step that can be given more."""
        step = {"what": what, "begin_ns": time.monotonic_ns()}
        yield step
        step["end_ns"] = time.monotonic_ns()
        self.steps.append(step)

    def finish(self):
        """The handler is done."""
        self.end_ns = time.monotonic_ns()


def take(name):
    """Writes all notes, and forgets them."""
    keys = ("path", "kind", "begin_ns", "end_ns", "steps")
    with open(Path(os.environ["NOTES_DIRECTORY"], f"{name}.ndjson"), "w", encoding="utf-8") as file:
        for note in list(notes.values()):
            print(json.dumps({key: getattr(note, key) for key in keys}), file=file)
    notes.clear()
