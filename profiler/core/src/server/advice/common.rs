//! Steps that most servers advise, in one wording.
//!
//! In: nothing. Out: steps and parts.

use super::setting::CPU_MAX;
use super::{Advice, Direction, Part, Scope, Setting, act, raise};

/// Where processes that share a listener take connections that others could serve at once.
pub fn apart(server: &str) -> Part {
    act(format!(
        "run each {server} process at a port of its own, behind a proxy that gives a request to the one with \
         least to do (least_conn in nginx)"
    ))
}

/// Where a quota of CPU stops the server.
pub fn raise_cpu_limit() -> Part {
    act("raise the CPU limit of the server's cgroup (container)").with(cpu_limit(), Direction::Raise)
}

/// The quota of CPU, as cgroups call it.
pub fn cpu_limit() -> Setting {
    Setting::named(CPU_MAX).at(Scope::Service)
}

/// Where a server closes kept connections as requests arrive on them; `setting`: for how long it keeps idle
/// ones.
pub fn keep_idle_longer(setting: &Setting) -> Part {
    raise(setting).so("above the time for which clients, or the proxy before it, keep idle connections")
}

/// Where a server kills workers that take too long; `setting`: its limit.
pub fn keep_within(setting: &Setting) -> Advice {
    let limit_of_its_own = act("give it a limit of its own at the back end");
    let longer = raise(setting).only("only if such long requests are intended");
    act("make that request faster").or(limit_of_its_own).also(longer).into()
}
