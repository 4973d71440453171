"""Judges the phases of requests by what the application noted, and prints a table as Markdown.

In: folders of runs, SERVER/MODE-LOAD below one folder, each with `requests.ndjson` (the report) and
`notes.ndjson` (the application). Out: a row for each run: its requests, how much of their time is false and
how much is unexplained, in percent, and the phases that are false most.

A phase is false beyond what it can have been. That is its noted length, a fifth more, and 2 ms: so errors
below 2 ms are not seen. `run_queue` and `gil_wait` are not judged: the application has no clock for them.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from notes import KINDS

MS = 1_000_000
# How long the application sleeps in all, by kind of request.
SLEEP_NS = {"block": 20 * MS, "sleep": 20 * MS, "thread": 20 * MS, "stream": 20 * MS}
# They serve one request at a time: whatever one does keeps the others waiting.
ONE_AT_A_TIME = ("bjoern", "fastwsgi")
# No pool of threads takes requests from their loop: who waits for a thread there waits for the loop.
POOL_IS_LOOP = (*ONE_AT_A_TIME, "robyn")
WAITS_FOR_A_TURN = ("loop_wait", "accept_queue", "pool_wait")
NOT_JUDGED = ("run_queue", "gil_wait", "unexplained")
# What another request that is alive may take of the loop without noting it.
UNNOTED_NS = MS / 2
MOST_PHASES, LEAST_SHARE = 3, 0.0005


@dataclass
class Run:
    """One server under one load, watched in one mode."""

    server: str
    mode: str
    load: str
    requests: list
    notes: dict
    # What kept the loop from others, and when each request was alive: (begin, end, path).
    busy: list = field(default_factory=list)
    alive: list = field(default_factory=list)

    @property
    def is_one_at_a_time(self):
        """Whether it serves one request after the other."""
        return self.server in ONE_AT_A_TIME

    @property
    def pool_is_loop(self):
        """Whether `pool_wait` is waiting for the loop. In light mode all waiting for a turn is called so."""
        return self.mode == "light" or self.server in POOL_IS_LOOP


@dataclass
class Judged:
    """What a request was said to have done, and how much of that is false, by phase."""

    total_ns: int
    unexplained_ns: int
    false_ns: dict


def read(folder):
    """The run of a folder."""
    mode, _, load = folder.name.partition("-")
    notes = {note["path"]: note for note in lines(folder / "notes.ndjson")}
    run = Run(folder.parent.name, mode, load, list(lines(folder / "requests.ndjson")), notes)
    keeps = ("compute", "block", *(("ask", "pool") if run.is_one_at_a_time else ()))
    for note in notes.values():
        kept = [step for step in note["steps"] if step["what"] in keeps]
        run.busy += [(step["begin_ns"], step["end_ns"], note["path"]) for step in kept]
        run.alive.append((note["begin_ns"], note["end_ns"] or note["begin_ns"], note["path"]))
    run.busy.sort()
    return run


def lines(path):
    """Values of a file with one in each line."""
    with open(path, encoding="utf-8") as file:
        yield from map(json.loads, file)


def judge(run):
    """Each finished request that has a note."""
    for request in run.requests:
        note = run.notes.get(request["path"])
        is_whole = not (request["is_open"] or request["is_truncated"])
        if is_whole and note and note["kind"] in KINDS:
            phases = {name.removesuffix("_ns"): ns for name, ns in request["phases"].items() if ns}
            false = false_work(run, note, phases) | false_turns(run, request, note, phases)
            yield Judged(request["total_ns"], phases.get("unexplained", 0), false)


def at_most(noted_ns):
    """How long a phase may be, of which so much was noted."""
    return noted_ns * 1.2 + 2 * MS


def false_work(run, note, phases):
    """What is false of phases in which the request did something, or waited for something of its own."""
    bounds = bounds_of_work(run, note)
    beyond = {
        name: ns - bounds.get(name, 0)
        for name, ns in phases.items()
        if name not in WAITS_FOR_A_TURN and name not in NOT_JUDGED
    }
    return {name: ns for name, ns in beyond.items() if ns > 0}


def bounds_of_work(run, note):
    """How long each phase may be. One that has no bound cannot have been."""
    bounds = {"cpu": at_most(noted(note, "compute", "cpu_ns")), "read_head": 2 * MS, "write": 2 * MS}
    if note["kind"] in SLEEP_NS:
        bounds["sleep"] = at_most(max(SLEEP_NS[note["kind"]], noted(note, "block")))
    if note["kind"] == "ask":
        bounds["backend_wait"] = at_most(until_answered(note))
    if note["kind"] == "thread" and run.is_one_at_a_time:
        # The only thread waits at a lock until the pool's is done.
        bounds["lock_wait"] = at_most(noted(note, "pool"))
    return bounds


def noted(note, what, key=None):
    """Time of all steps of a name: how long they took, or what they say under a key."""
    steps = [step for step in note["steps"] if step["what"] == what]
    return sum(step[key] if key else step["end_ns"] - step["begin_ns"] for step in steps)


def until_answered(note):
    """Time from a question to the moment at which the back end answered, by the back end's clock."""
    asked = [step for step in note["steps"] if step["what"] == "ask"]
    return sum(step["answered_ns"] - step["begin_ns"] for step in asked)


def false_turns(run, request, note, phases):
    """What is false of waiting for a turn: on the loop, or for a thread."""
    false = {}
    names = WAITS_FOR_A_TURN
    if not run.pool_is_loop:
        names = ("loop_wait", "accept_queue")
        bound = at_most(until_thread(note)) if note["kind"] == "thread" else 0
        false["pool_wait"] = phases.get("pool_wait", 0) - bound
    waited = sum(phases.get(name, 0) for name in names)
    false["loop_wait"] = waited - bound_of_loop_wait(run, request)
    return {name: ns for name, ns in false.items() if ns > 0}


def until_thread(note):
    """Time from giving work to a pool until a thread began it."""
    begins = {step["what"]: step["begin_ns"] for step in reversed(note["steps"])}
    if "pool" not in begins or "thread" not in begins:
        return 0
    return max(0, begins["thread"] - begins["pool"])


def bound_of_loop_wait(run, request):
    """How long a request may have waited for the loop: while others kept it."""
    begin, path = request["start_ns"], request["path"]
    end = begin + request["total_ns"]
    kept = [
        (max(start, begin), min(stop, end))
        for start, stop, other in run.busy
        if other != path and start < end and stop > begin
    ]
    alive = sum(other != path and start < end and stop > begin for start, stop, other in run.alive)
    return at_most(length(kept)) + UNNOTED_NS * alive


def length(spans):
    """Length of spans together, which are in order of their begin and may overlap."""
    total = covered = 0
    for begin, end in spans:
        total += max(0, end - max(begin, covered))
        covered = max(covered, end)
    return total


def row(run):
    """A line of the table."""
    judged = list(judge(run))
    total = sum(request.total_ns for request in judged) or 1
    unexplained = sum(request.unexplained_ns for request in judged)
    false = Counter()
    for request in judged:
        false.update(request.false_ns)
    named = [(name, ns / total) for name, ns in false.most_common(MOST_PHASES) if ns / total >= LEAST_SHARE]
    cells = [
        run.server,
        run.mode,
        run.load,
        str(len(judged)),
        f"{100 * false.total() / total:.2f}",
        f"{100 * unexplained / total:.1f}",
        ", ".join(f"`{name}` {100 * share:.2f}" for name, share in named),
    ]
    return f"| {' | '.join(cells)} |"


def table(folders):
    """The table of these runs."""
    head = "| server | mode | load | requests | false, % | unexplained, % | false most, % |"
    return "\n".join([head, "|---|---|---|--:|--:|--:|---|", *(row(read(folder)) for folder in folders)])


def main():
    """Judges the runs that are named, or all of those below a folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="of runs, or with runs below")
    folders = parser.parse_args().folders
    found = [notes.parent for folder in folders for notes in folder.rglob("notes.ndjson")]
    print(table(sorted(set(found))))


if __name__ == "__main__":
    main()
