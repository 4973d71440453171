//! What is asked of the servers: mixes of requests, how much of them, and by whom.
//!
//! In: nothing. Out: [`WORKLOADS`], [`LOADS`].

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use wsgi_trace_lab::open_load::{Answer, Kind, Users, poisson, send, send_as_users};

/// A mix of requests.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Name in tables.
    pub(crate) name: &'static str,
    /// Requests to `apps/demo_app.py`.
    pub(crate) mix: &'static [Kind],
    /// CPU time of a request in the mean, in ms: that of its steps and about a millisecond of the server.
    pub(crate) cpu_ms: f64,
    /// How many users ask, each on a connection that is kept, and think in between. 0: requests come when
    /// they are due.
    pub(crate) users: usize,
    /// At these loads, in percent of a core, its runs have changed the model; all others judge it.
    fixing_loads: &'static [u32],
}

impl Workload {
    /// Whether runs at this load have changed the model.
    pub(crate) fn is_for_fixing(&self, percent: u32) -> bool {
        self.fixing_loads.contains(&percent)
    }
}

/// All.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "cpu",
        mix: &[Kind::get("/steps/c2", 0.8), Kind::get("/steps/c4", 0.15), Kind::get("/steps/c40", 0.05)],
        cpu_ms: 5.2,
        users: 0,
        fixing_loads: &[40, 60, 85],
    },
    Workload {
        name: "back-end",
        mix: &[Kind::get("/steps/c1b8c1", 1.0)],
        cpu_ms: 3.5,
        users: 0,
        fixing_loads: &[40, 85],
    },
    Workload {
        name: "mixed",
        mix: &[
            Kind::get("/steps/c2", 0.6),
            Kind::get("/steps/c1b15c2", 0.35),
            Kind::get("/steps/b60c20", 0.05),
        ],
        cpu_ms: 4.5,
        users: 0,
        fixing_loads: &[40, 85],
    },
    Workload {
        name: "asleep",
        mix: &[Kind::get("/steps/c3", 0.5), Kind::get("/steps/c1s20", 0.5)],
        cpu_ms: 3.0,
        users: 0,
        fixing_loads: &[40, 60],
    },
    Workload {
        name: "slow-clients",
        mix: &[
            Kind::get("/steps/c2", 0.7),
            Kind::get("/steps/c20", 0.05),
            Kind::slow_post("/upload", 0.25, Duration::from_millis(40)),
        ],
        cpu_ms: 3.5,
        users: 0,
        fixing_loads: &[40],
    },
    Workload {
        name: "users",
        mix: &[Kind::get("/steps/c2", 0.7), Kind::get("/steps/c1b15c2", 0.25), Kind::get("/steps/c20", 0.05)],
        cpu_ms: 4.2,
        users: 20,
        fixing_loads: &[40, 60],
    },
];

/// Load in percent of one core, at which requests come.
pub(crate) const LOADS: &[u32] = &[40, 60, 85];

impl Workload {
    /// Asks for so long at such a load, or until `stop` is set.
    pub(crate) fn ask(
        &self,
        address: &str,
        percent: u32,
        (length, seed): (Duration, u64),
        stop: &AtomicBool,
    ) -> anyhow::Result<Vec<Answer>> {
        let rate_per_s = f64::from(percent) / 100.0 * 1000.0 / self.cpu_ms;
        if self.users == 0 {
            return send(address, &poisson(seed, rate_per_s, length, self.mix), stop);
        }
        // Answers take little of the time between two requests of a user.
        let think = Duration::from_secs_f64(self.users as f64 / rate_per_s);
        let users = Users { count: self.users, think, length, seed, mix: self.mix };
        send_as_users(address, &users, stop)
    }
}
