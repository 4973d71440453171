//! SIGKILL of the profiler at any moment: the server goes on, the kernel keeps nothing.
//!
//! In: nothing. Out: verdicts.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use aya::programs::loaded_programs;
use wsgi_trace::hook::table::PROGRAMS;
use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::load::Load;
use wsgi_trace_test_support::program::{Program, kernel_programs};
use wsgi_trace_test_support::require_bpf;

use crate::said::LIMIT;

/// How often it is killed here; `make soak` asks for a hundred.
const KILLS: u32 = 13;

fn kills() -> u32 {
    std::env::var("WSGI_TRACE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// A kill takes some seconds: attaching, and until the kernel has dropped what was attached.
const KILL_SECONDS: u32 = 10;

/// Light enough that the profilers get on with attaching; it lasts until all kills are over, and is then
/// stopped.
fn steady() -> Vec<String> {
    let seconds = (60 + kills() * KILL_SECONDS).to_string();
    let options = ["--requests", "10000000", "--seconds", &seconds, "--clients", "4", "--keep-alive", "20"];
    options.into_iter().chain(["--routes", "/sleep/5"]).map(str::to_owned).collect()
}

/// Moments that look random and are the same every time (xorshift).
struct Moments(u64);

impl Moments {
    fn below(&mut self, bound: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        bound.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// Loaded programs of ours that no process holds. (Other profilers may run on this machine: theirs are held.)
fn orphans() -> anyhow::Result<Vec<String>> {
    let mut held = HashSet::new();
    for process in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Ok(files) = std::fs::read_dir(process.path().join("fdinfo")) else { continue };
        for file in files.filter_map(Result::ok) {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let id = text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok());
            held.extend(id);
        }
    }
    let ours = |name: &str| PROGRAMS.iter().any(|program| !name.is_empty() && program.name.starts_with(name));
    Ok(loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| !held.contains(&program.id()))
        .filter_map(|program| program.name_as_str().filter(|name| ours(name)).map(str::to_owned))
        .collect())
}

#[test]
fn killed_again_and_again_the_profiler_costs_no_request_and_leaves_nothing_in_the_kernel()
-> anyhow::Result<()> {
    require_bpf!(Ok(()));
    let _others = shared()?;
    let server = Gunicorn::start(&Settings::gthread(Version::V27, 1, 4))?;
    let pid = server.master().to_string();
    let steady = steady();
    let steady: Vec<&str> = steady.iter().map(String::as_str).collect();
    let mut load = Load::start(server.address(), &steady)?;

    let started = Instant::now();
    let mut first = Program::start(&["--pid", &pid])?;
    first.wait_for_stderr("watching")?;
    let attach = started.elapsed();
    // Programs that are attached are found by the same look that finds none afterwards.
    let its = kernel_programs(first.pid());
    let mut loaded = loaded_programs().filter_map(Result::ok).filter(|program| its.contains(&program.id()));
    assert!(loaded.any(|program| program.name_as_str() == Some("sched_switch")));
    first.signal(libc::SIGKILL);
    first.finish(LIMIT)?;

    let mut moments = Moments(0x9E37_79B9_7F4A_7C15);
    for kill in 1..kills() {
        // The kernel takes seconds to drop forty tracepoints of a process that was killed: now and then is
        // enough.
        let hooks = if kill % 48 == 12 { "tracepoints" } else { "btf" };
        let mut program = Program::start(&["--pid", &pid, "--hooks", hooks])?;
        // Not waits for anything: the moment of the kill is what the test is about.
        if kill % 4 == 0 {
            program.wait_for_stderr("watching")?;
            std::thread::sleep(moments.below(Duration::from_millis(100)));
        } else {
            std::thread::sleep(moments.below(attach));
        }
        program.signal(libc::SIGKILL);
        let outcome = program.finish(LIMIT)?;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&outcome.status), Some(libc::SIGKILL));
    }
    // The kernel frees programs some time after their last user is gone.
    let mut left = Vec::new();
    until("the kernel to drop the programs of killed profilers", Duration::from_secs(20), || {
        left = orphans()?;
        Ok(left.is_empty().then_some(()))
    })
    .map_err(|error| error.context(format!("{left:?}")))?;

    assert!(load.ended()?.is_none(), "the last profilers were killed without a load");
    load.stop_early();
    let sent = load.finish()?;
    assert!(sent.requests.len() > 100);
    let failed: Vec<_> = sent.requests.iter().filter(|request| request.status != Some(200)).collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), sent.requests.len(), failed.first());
    Ok(())
}
