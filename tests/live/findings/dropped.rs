//! Findings about requests that fail: clients that leave, descriptors that run out, workers that are killed,
//! answers that are errors.
//!
//! In: servers whose settings do so, clients that write down what they saw. Out: cases.

use wsgi_trace_test_support::gunicorn::{Settings, Version};
use wsgi_trace_test_support::server::cheroot::{Cheroot, EncryptedCheroot};
use wsgi_trace_test_support::server::few_files::FewFiles;
use wsgi_trace_test_support::server::mod_wsgi::ModWsgi;
use wsgi_trace_test_support::server::tls::Tls;
use wsgi_trace_test_support::server::twisted::Twisted;
use wsgi_trace_test_support::server::uwsgi::Uwsgi;
use wsgi_trace_test_support::server::waitress::Waitress;

use crate::case::{Case, Seen, load, plan, same};

/// Six at a time, each with 0.9 s of patience for a request of 0.4 s; the last waits until the others are
/// forgotten.
const IMPATIENT: &[&str] = &["--at-once", "6", "--after", "0.9", "leave:/sleep/400:18", "get:/fast"];
const MANY: &[&str] = &["--at-once", "60", "--timeout", "3", "get:/sleep/700:60"];
/// Every fifth request meets an exception.
const SOME_FAIL: &[&[&str]] = &[&["--clients=2", "--think-ms=10", "--routes=/fast=4,/error"]];
/// Every fifth asks for what is not there.
const NONE_FAILS: &[&[&str]] = &[&["--clients=2", "--think-ms=10", "--routes=/fast=4,/missing"]];
/// Takes four seconds where nobody ends it.
const LONG: &[&str] = &["get:/fast", "get:/sleep/4000"];
/// Kept connections, asked again when the server closed them, or after three seconds.
const LATE: &[&str] = &["--at-once", "3", "--timeout", "3", "late:/fast:2", "get:/fast"];

/// As `LATE`, in TLS.
const LATE_1_3: &[&str] =
    &["--tls=1.3", "--at-once", "3", "--timeout", "3", "late:/fast:2", "farewell:/fast", "get:/fast"];
const LATE_1_2: &[&str] =
    &["--tls=1.2", "--at-once", "3", "--timeout", "3", "late:/fast:2", "farewell:/fast", "get:/fast"];
/// Kept connections whose clients say farewell once the server has closed them: as many bytes, or nearly, and
/// no request.
const FAREWELLS_1_3: &[&str] = &["--tls=1.3", "--at-once", "3", "--timeout", "3", "farewell:/fast:3"];
const FAREWELLS_1_2: &[&str] = &["--tls=1.2", "--at-once", "3", "--timeout", "3", "farewell:/fast:3"];

const FILES: u64 = 40;

/// As many as say so themselves.
fn left(seen: &Seen) -> anyhow::Result<()> {
    same("clients left", seen.figure("clients_left_count")?, seen.saw("left")?)
}

/// The limit is the one that was set.
fn limited(seen: &Seen) -> anyhow::Result<()> {
    same("open files", seen.figure("open_files_limit")?, FILES as f64)
}

/// As many connections as the server had closed before their clients asked again.
fn raced(seen: &Seen) -> anyhow::Result<()> {
    let clients = seen.plan.iter().flat_map(|plan| &plan.clients);
    let late = clients.filter(|client| client.kind == "late" && client.closed_first).count() as f64;
    same("connections raced", seen.figure("connections_raced_count")?, late)
}

/// As many errors as clients got.
fn failed(seen: &Seen) -> anyhow::Result<()> {
    let failed = seen.sent.iter().filter(|sent| sent.status.is_some_and(|status| status >= 500)).count();
    same("server errors", seen.figure("server_errors_count")?, failed as f64)
}

/// As many workers as gunicorn's log names.
fn killed_by_gunicorn(seen: &Seen) -> anyhow::Result<()> {
    same("workers killed", seen.figure("workers_killed_count")?, seen.logged("WORKER TIMEOUT")?)
}

/// As many workers as uWSGI's log names.
fn killed_by_uwsgi(seen: &Seen) -> anyhow::Result<()> {
    same("workers killed", seen.figure("workers_killed_count")?, seen.logged("HARAKIRI ON WORKER")?)
}

fn sync(workers: usize) -> Settings {
    Settings::sync(Version::V27, workers)
}

fn gthread() -> Settings {
    Settings::gthread(Version::V23, 1, 2)
}

/// gunicorn that keeps connections for a second. Of the versions 23 closes them at once, 27 reads for a while
/// what still comes.
fn encrypted(version: Version) -> Tls<Settings> {
    Tls::of(Settings::gthread(version, 1, 2).with(&["--keep-alive=1"]))
}

/// cheroot that does.
fn encrypted_cheroot() -> Tls<EncryptedCheroot> {
    Tls::of(EncryptedCheroot { server: Cheroot { threads: 4 }, keeps_seconds: 1 })
}

crate::cases! {
    #[ignore = "make live"]
    clients_leave_gunicorn_with_one_worker => Case {
        finding: "clients-leave",
        sick: plan(sync(1), IMPATIENT),
        well: plan(sync(8), IMPATIENT),
        witness: left,
    };
    #[ignore = "make live"]
    clients_leave_waitress_with_one_thread => Case {
        finding: "clients-leave",
        sick: plan(Waitress { threads: 1 }, IMPATIENT),
        well: plan(Waitress { threads: 8 }, IMPATIENT),
        witness: left,
    };
    #[ignore = "make live"]
    descriptors_of_waitress => Case {
        finding: "descriptor-limit",
        sick: plan(FewFiles { server: &Waitress { threads: 4 }, limit: FILES }, MANY),
        well: plan(Waitress { threads: 4 }, MANY),
        witness: limited,
    };
    #[ignore = "make live"]
    descriptors_of_twisted => Case {
        finding: "descriptor-limit",
        sick: plan(FewFiles { server: &Twisted, limit: FILES }, MANY),
        well: plan(Twisted, MANY),
        witness: limited,
    };
    #[ignore = "make live"]
    a_race_with_gunicorn_that_keeps_connections_for_a_second => Case {
        finding: "keep-alive-race",
        sick: plan(gthread().with(&["--keep-alive=1"]), LATE),
        well: plan(gthread().with(&["--keep-alive=30"]), LATE),
        witness: raced,
    };
    #[ignore = "make live"]
    a_race_with_mod_wsgi_that_keeps_connections_for_a_second => Case {
        finding: "keep-alive-race",
        sick: plan(ModWsgi::daemon(1, 5).with(&["--keep-alive-timeout=1"]), LATE),
        well: plan(ModWsgi::daemon(1, 5).with(&["--keep-alive-timeout=30"]), LATE),
        witness: raced,
    };
    #[ignore = "make live"]
    a_race_behind_tls_with_gunicorn => Case {
        finding: "keep-alive-race",
        sick: plan(encrypted(Version::V23), LATE_1_3),
        well: plan(encrypted(Version::V23), FAREWELLS_1_3),
        witness: raced,
    };
    #[ignore = "make live"]
    a_race_behind_older_tls_with_gunicorn_that_reads_on => Case {
        finding: "keep-alive-race",
        sick: plan(encrypted(Version::V27), LATE_1_2),
        well: plan(encrypted(Version::V27), FAREWELLS_1_2),
        witness: raced,
    };
    #[ignore = "make live"]
    a_race_behind_tls_with_cheroot => Case {
        finding: "keep-alive-race",
        sick: plan(encrypted_cheroot(), LATE_1_3),
        well: plan(encrypted_cheroot(), FAREWELLS_1_3),
        witness: raced,
    };
    #[ignore = "make live"]
    a_race_behind_older_tls_with_cheroot => Case {
        finding: "keep-alive-race",
        sick: plan(encrypted_cheroot(), LATE_1_2),
        well: plan(encrypted_cheroot(), FAREWELLS_1_2),
        witness: raced,
    };
    #[ignore = "make live"]
    errors_of_an_application_on_gunicorn => Case {
        finding: "server-errors",
        sick: load(sync(2), SOME_FAIL),
        well: load(sync(2), NONE_FAILS),
        witness: failed,
    };
    #[ignore = "make live"]
    errors_of_an_application_on_waitress => Case {
        finding: "server-errors",
        sick: load(Waitress { threads: 4 }, SOME_FAIL),
        well: load(Waitress { threads: 4 }, NONE_FAILS),
        witness: failed,
    };
    #[ignore = "make live"]
    a_timeout_of_gunicorn => Case {
        finding: "worker-timeouts",
        sick: plan(sync(1).with(&["--timeout=1"]), LONG),
        well: plan(sync(1).with(&["--timeout=30"]), LONG),
        witness: killed_by_gunicorn,
    };
    #[ignore = "make live"]
    a_harakiri_of_uwsgi => Case {
        finding: "worker-timeouts",
        sick: plan(Uwsgi::new(1, 1).with(&["--harakiri=1"]), LONG),
        well: plan(Uwsgi::new(1, 1).with(&["--harakiri=30"]), LONG),
        witness: killed_by_uwsgi,
    };
}
