//! Steps that most servers advise, in one wording.
//!
//! In: nothing. Out: steps and parts.

use super::{Direction, Part, Scope, Setting, Step, act};

/// Where a back end takes the time.
#[must_use]
pub fn faster_back_end() -> Step {
    act("speed up the back end's answers").or(act("ask it less often")).because("the time is lost there")
}

/// Where a quota of CPU stops the server.
#[must_use]
pub fn raise_cpu_limit() -> Part {
    act("raise the CPU limit of the server's cgroup (container)").with(cpu_limit(), Direction::Raise)
}

/// The quota of CPU, as cgroups call it.
#[must_use]
pub fn cpu_limit() -> Setting {
    Setting::named("cpu.max").at(Scope::Service)
}
