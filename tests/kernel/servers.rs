//! Checks with programs that are not the payload's own: a real gunicorn, a 32-bit program.
//!
//! In: which of them are there. Out: one verdict a check; what is not there is said.

use wsgi_trace::attach::Hooks;

use crate::checks::Check;
use crate::{accepts, preempt, real, recordings, server, serving, thirty_two};

/// All that can be checked with what is there.
pub(crate) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    if thirty_two::is_there() {
        for hooks in [Hooks::Btf, Hooks::Tracepoints] {
            checks.push(check("calls of a 32-bit program are not misread", || {
                thirty_two::is_not_misread(hooks)
            }));
        }
    } else {
        println!("no 32-bit program here: THIRTY_TWO names none");
    }
    if !server::is_there() {
        println!("no gunicorn here: PYTHON names no interpreter");
    } else if preempt::is_wanted() {
        checks.extend(preempted());
    } else {
        checks.push(check("gunicorn's requests are those of its log", || real::full("btf")));
        checks.push(check("the same by tracepoints of single calls", || real::full("tracepoints")));
        checks.push(check("light mode has as many, or is refused", real::light));
        checks.push(check("accepts that fail are counted in light mode", accepts::counted));
        checks.push(check(
            "serve is light where nothing is lacking",
            serving::is_light_where_nothing_is_lacking,
        ));
        checks.push(check("waits for CPython's lock add up by holder", real::gil));
        checks.push(check("probes in OpenSSL can be placed, and plain requests stay whole", real::tls));
        checks.push(check("each of a herd got what its log says", real::herd));
        if recordings::are_there() {
            checks.push(check(
                "recordings of another machine give its reports",
                recordings::of_another_machine,
            ));
            checks
                .push(check("a recording of this kernel gives the live report", recordings::of_this_kernel));
        }
    }
    checks
}

fn preempted() -> Vec<Check> {
    let mut checks = vec![check("the kernel preempts wherever it can", preempt::is_on)];
    let full = |hooks: &'static str| move || preempt::under_load(&["--hooks", hooks]);
    checks.push(check("nothing is lost under real-time threads", full("btf")));
    checks.push(check("nothing by tracepoints of single calls", full("tracepoints")));
    if real::has_light_mode() {
        checks.push(check("nothing in light mode", || preempt::under_load(&["--light"])));
    }
    checks
}

/// Runs a check; its name is said before, as it may take a while.
fn check(what: &'static str, run: impl FnOnce() -> anyhow::Result<()>) -> Check {
    println!("-- {what}");
    (what, run())
}
