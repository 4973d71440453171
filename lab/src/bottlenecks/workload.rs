//! The kinds of work of the lab: what clients ask for, and how many of them there are.
//!
//! In: nothing. Out: [`WORKLOADS`]: options of `clients/load.py`.

use std::time::Duration;

use super::server::Kind;

/// One kind of work.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// For `--workloads`.
    pub name: &'static str,
    /// In the table.
    pub title: &'static str,
    /// What clients do.
    pub about: &'static str,
    /// Options of the clients, without the routes.
    pub clients: &'static [&'static str],
    /// `--routes` for the WSGI application, and for the ASGI application.
    pub routes: [&'static str; 2],
    /// How long clients are at work before the watch begins: the start is not what is looked for.
    pub run_up: Duration,
}

impl Workload {
    /// `--routes` for an application of this kind.
    pub const fn routes_for(&self, kind: Kind) -> &'static str {
        let [wsgi, asgi] = self.routes;
        match kind {
            Kind::Wsgi => wsgi,
            Kind::Asgi => asgi,
        }
    }
}

const fn workload(
    name: &'static str,
    title: &'static str,
    about: &'static str,
    clients: &'static [&'static str],
    routes: [&'static str; 2],
) -> Workload {
    Workload { name, title, about, clients, routes, run_up: Duration::from_millis(500) }
}

const fn same(routes: &'static str) -> [&'static str; 2] {
    [routes, routes]
}

/// All of them, in the order of the table.
pub const WORKLOADS: &[Workload] = &[
    workload(
        "multithreading",
        "multithreading",
        "4 clients; each request computes 10 ms in each of two threads of its own",
        &["--clients=4", "--keep-alive=20"],
        ["/truth/gil/10", "/threads"],
    ),
    workload(
        "cpu",
        "CPU-intensive",
        "8 clients; each request computes 5 ms in Python",
        &["--clients=8", "--keep-alive=20"],
        same("/cpu"),
    ),
    workload(
        "long",
        "long requests",
        "8 clients; each request sleeps 300 ms",
        &["--clients=8", "--keep-alive=20"],
        same("/sleep/300"),
    ),
    workload(
        "short-long",
        "short + long",
        "8 clients; of five requests one sleeps 400 ms, four are done at once",
        &["--clients=8"],
        same("/fast=4,/sleep/400"),
    ),
    workload(
        "uploads",
        "large uploads",
        "4 clients; each request brings 8 MB as fast as it is taken",
        &["--clients=4", "--kinds=sized", "--upload-bytes=8000000"],
        same("/upload"),
    ),
    workload(
        "downloads",
        "large responses",
        "4 clients; each response has 16 MB, taken as fast as it comes",
        &["--clients=4"],
        same("/download"),
    ),
    workload(
        "back-end",
        "back-end blocking",
        "32 clients; each request waits 20 ms for a back end",
        &["--clients=32", "--keep-alive=20"],
        same("/backend"),
    ),
    workload(
        "slow-clients",
        "slow clients",
        "6 clients send 1 kB in 1 s, 2 read 16 MB in 2 s; 2 quick ones beside them",
        &[
            "--clients=2",
            "--think-ms=50",
            "--slow-bodies=6",
            "--slow-body-bytes=1000",
            "--slow-readers=2",
            "--slow-read-seconds=2",
        ],
        same("/fast"),
    ),
    Workload {
        run_up: Duration::from_secs(4),
        ..workload(
            "users",
            "1000 users",
            "1000 clients that keep their connections for 5 requests, with 4 s between two; one of ten requests asks a back end",
            &["--clients=1000", "--keep-alive=5", "--think-ms=4000", "--spread-seconds=4"],
            same("/fast=9,/backend"),
        )
    },
];
