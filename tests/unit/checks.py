"""The payload of `make unit`: the packaged unit under systemd, on a Debian machine that runs nothing else.

In: the package, gunicorn's unit, the application and its client in /opt; root. Out: a line for each check on the console, and
`PAYLOAD-EXIT 0` when all passed. A check begins where the one before it left the machine.
"""

import collections
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

UNIT = "wsgi-trace.service"
# By the emulated machine's own clock.
LIMIT_SECONDS = 180
STOP_LIMIT_SECONDS = 20


def run(*words):
    """Standard output of a command that succeeds."""
    ended = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert ended.returncode == 0, f"{' '.join(words)}: {ended.returncode}: {(ended.stdout + ended.stderr).strip()}"
    return ended.stdout


def until(what, is_so):
    """What `is_so` says, once it is anything but nothing."""
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        if said := is_so():
            return said
        time.sleep(0.2)
    raise AssertionError(f"waited {LIMIT_SECONDS} s for {what}; journal:\n{run('journalctl', '-u', UNIT, '-n', '20')}")


def ask(path, port=9750):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LIMIT_SECONDS) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return ""


def watches(port=9750):
    until("the server to be watched", lambda: '"watching"' in ask("/healthz", port))


def property_of(name):
    return run("systemctl", "show", "--value", "--property", name, UNIT).strip()


def counted(port=9750):
    """How many requests the metrics have, by path."""
    counts = collections.Counter()
    for labels, value in re.findall(r"^wsgi_trace_requests_total\{(.*)\} (\d+)", ask("/metrics", port), re.MULTILINE):
        counts[re.search(r'endpoint="([^"]*)"', labels).group(1)] += int(value)
    return counts


def load(port=9750):
    """Asks the application, and waits until all is counted: what the client says, what the metrics say."""
    before = counted(port)
    client = ["--address", "127.0.0.1:8000", "--requests", "120", "--clients", "8", "--keep-alive", "5"]
    said = json.loads(run(sys.executable, "/opt/load.py", *client, "--routes", "/fast=3,/cpu=1", "--timeout", "120"))
    asked = collections.Counter(re.sub(r"\d+", "{number}", entry["path"]) for entry in said["requests"])
    assert said["counts"]["answered"] == 120, said["counts"]
    until("all requests", lambda: (counted(port) - before).total() >= 120)
    return asked, counted(port) - before


def report(port=9750):
    return json.loads(ask("/report.json?window=current", port))


def not_seen(report):
    """What the report could not see, numbers apart."""
    said = list(report["target"]["blind_spots"]) + list((report["drops"] or {"not_seen": []})["not_seen"])
    said += [f"{missing['program']}: {missing['reason']}" for missing in report["tool"]["missing"]]
    said += [f"{part['key']}: {part['reason']}" for part in report["not_measured"]]
    return {re.sub(r"\d+", "N", sentence) for sentence in said}


def the_package_installs():
    run("dpkg", "-i", "/opt/wsgi-trace.deb")
    assert property_of("UnitFileState") == "disabled", property_of("UnitFileState")


def systemd_finds_nothing_wrong_with_the_units():
    paths = [f"/usr/lib/systemd/system/wsgi-trace.{kind}" for kind in ("service", "socket")]
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
    assert verified.returncode == 0 and not verified.stderr.strip(), verified.stderr


def it_starts_and_watches_gunicorn_as_it_is_packaged():
    run("systemctl", "start", "gunicorn", UNIT)
    watches()
    assert property_of("ActiveState") == "active", property_of("ActiveState")


def it_is_not_root_and_has_its_five_capabilities_alone():
    with open(f"/proc/{property_of('MainPID')}/status") as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines())
    assert "0" not in status["Uid"].split(), status["Uid"]
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
    # CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF, CAP_CHECKPOINT_RESTORE, and no more.
    wanted = sum(1 << number for number in (2, 19, 38, 39, 40))
    assert {int(status[kind], 16) for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {wanted}, status


def requests_and_paths_are_those_of_the_client():
    asked, metrics = load()
    assert metrics == asked, f"the client sent {asked}, the metrics have {metrics}"


def accept_queues_and_the_interpreter_lock_are_read():
    seen = report()
    listeners = {listener["port"]: listener for listener in seen["listeners"]}
    assert listeners[8000]["queue"], (listeners[8000], seen["target"]["blind_spots"])
    assert "wsgi_trace_accept_queue_limit{" in ask("/metrics")
    assert seen["gil"], seen["not_measured"]
    assert seen["gil"]["waits"]["count"] > 0, seen["gil"]["waits"]


def what_root_without_a_unit_sees_it_sees():
    under_unit = not_seen(report())
    run("systemctl", "stop", UNIT)
    agent = subprocess.Popen(
        ["wsgi-trace", "serve", "--quiet", "--name", "gunicorn", "--listen", "127.0.0.1:9751"]
    )
    try:
        watches(9751)
        load(9751)
        as_root = not_seen(report(9751))
    finally:
        agent.terminate()
        agent.wait(LIMIT_SECONDS)
    print(f"not seen as root: {sorted(as_root)}")
    assert under_unit == as_root, f"under the unit {sorted(under_unit)}, as root {sorted(as_root)}"
    run("systemctl", "start", UNIT)
    watches()


def it_stops_at_once_in_order_and_starts_again():
    start = time.monotonic()
    run("systemctl", "stop", UNIT)
    took = time.monotonic() - start
    last = run("journalctl", "-u", UNIT, "-o", "cat", "-n", "3")
    # systemd says so of what ended by itself with exit code 0.
    assert f"{UNIT}: Deactivated successfully." in last and took < STOP_LIMIT_SECONDS, (took, last)
    print(f"stopped in {took:.1f} s")
    run("systemctl", "start", UNIT)
    watches()


def the_journal_has_what_it_says_and_no_error():
    said = run("journalctl", "-u", UNIT, "-o", "cat").splitlines()
    assert any("serving http://127.0.0.1:9750/" in line for line in said), said
    ours = run("journalctl", "-u", UNIT, "_COMM=wsgi-trace", "-o", "cat").splitlines()
    # A line for where it serves, and a line for how it traces.
    said_at_start = ("serving http", "light mode; POST /full", "everything is traced: ")
    others = [line for line in ours if not line.startswith(tuple(f"wsgi-trace: {words}" for words in said_at_start))]
    assert not others and len(ours) == 2 * sum("serving" in line for line in ours), ours
    assert "-- No entries --" in run("journalctl", "-u", UNIT, "-p", "warning"), said


def killed_it_comes_back_and_counts():
    run("systemctl", "kill", "--signal", "KILL", UNIT)
    until("a restart", lambda: property_of("NRestarts") == "1")
    watches()
    asked, metrics = load()
    assert metrics == asked, f"the client sent {asked}, the metrics have {metrics}"


def options_stand_in_etc_default():
    with open("/etc/default/wsgi-trace", "w") as file:
        file.write('WSGI_TRACE_SERVE="--port 8000 --window 2s"\n')
    run("systemctl", "restart", UNIT)
    watches()
    until("a window of 2 s", lambda: re.search(r"wsgi_trace_window_seconds 2\b", ask("/metrics")))


def a_mistake_in_the_options_is_not_tried_again():
    with open("/etc/default/wsgi-trace", "w") as file:
        file.write('WSGI_TRACE_SERVE="--no-such-option"\n')
    subprocess.run(["systemctl", "restart", UNIT], capture_output=True)
    until("its failure", lambda: property_of("ActiveState") == "failed")
    assert property_of("ExecMainStatus") == "2" and property_of("NRestarts") == "0", property_of("ExecMainStatus")
    run("rm", "/etc/default/wsgi-trace")
    run("systemctl", "reset-failed", UNIT)


def systemd_listens_in_its_place():
    run("systemctl", "start", "wsgi-trace.socket")
    assert property_of("ActiveState") == "inactive", property_of("ActiveState")
    watches()
    assert property_of("ActiveState") == "active", property_of("ActiveState")


CHECKS = [
    the_package_installs,
    systemd_finds_nothing_wrong_with_the_units,
    it_starts_and_watches_gunicorn_as_it_is_packaged,
    it_is_not_root_and_has_its_five_capabilities_alone,
    requests_and_paths_are_those_of_the_client,
    accept_queues_and_the_interpreter_lock_are_read,
    what_root_without_a_unit_sees_it_sees,
    it_stops_at_once_in_order_and_starts_again,
    the_journal_has_what_it_says_and_no_error,
    killed_it_comes_back_and_counts,
    options_stand_in_etc_default,
    a_mistake_in_the_options_is_not_tried_again,
    systemd_listens_in_its_place,
]


def main():
    print("\nPAYLOAD-START")
    print(run("systemctl", "--version").splitlines()[0], "on Linux", run("uname", "-r").strip())
    passed = True
    for check in CHECKS:
        start = time.monotonic()
        name = check.__name__.replace("_", " ")
        try:
            check()
            print(f"PASS {name} ({time.monotonic() - start:.0f} s)")
        # Whatever a check meets is its verdict, and the others follow.
        except Exception as error:
            passed = False
            print(f"FAIL {name}: {type(error).__name__}: {error}")
    print(run("systemd-analyze", "security", UNIT).strip().splitlines()[-1])
    print(f"PAYLOAD-EXIT {int(not passed)}")


if __name__ == "__main__":
    main()
