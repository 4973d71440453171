//! Connections that are lost before anybody accepts them.
//!
//! In: a server that stops while clients wait in its queue. Out: verdicts.

use std::time::Duration;

use wsgi_trace_test_support::child::until;
use wsgi_trace_test_support::dropping::{Clients, Drops};
use wsgi_trace_test_support::gate::shared;
use wsgi_trace_test_support::gunicorn::{Gunicorn, Settings, Version};
use wsgi_trace_test_support::raw::until_all_asleep;
use wsgi_trace_test_support::require_bpf;
use wsgi_trace_test_support::server::queue_depth;
use wsgi_trace_test_support::trace::Trace;

use crate::BOTH_MODES;

const LIMIT: Duration = Duration::from_secs(20);

fn send(pid: u32, signal: i32) -> anyhow::Result<()> {
    // SAFETY: `kill` takes no pointers; the worker is our server's child, which nobody has waited for.
    let outcome = unsafe { libc::kill(libc::pid_t::try_from(pid)?, signal) };
    anyhow::ensure!(outcome == 0, "{}", std::io::Error::last_os_error());
    Ok(())
}

/// Whether the signal was sent to the process, and not delivered yet.
fn is_pending(pid: u32, signal: i32) -> anyhow::Result<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap_or_default();
    Ok(u64::from_str_radix(pending.trim(), 16)? >> (signal - 1) & 1 == 1)
}

#[test]
fn clients_in_the_queue_of_a_server_that_stops_lose_their_connection_with_its_listener() -> anyhow::Result<()>
{
    require_bpf!(Ok(()));
    let _turn = shared()?;
    for mode in BOTH_MODES {
        let server = Gunicorn::start(&Settings::sync(Version::V27, 1))?;
        let trace = Trace::start_with(server.master(), mode)?;
        // A worker that stands still accepts nobody; it wakes up with the order to stop already there.
        let workers = server.worker_pids();
        until_all_asleep(&workers)?;
        for worker in &workers {
            send(*worker, libc::SIGSTOP)?;
        }
        let clients =
            Clients::start(server.address(), &["--at-once", "3", "--timeout", "30", "get:/fast:3"])?;
        until("three clients in the queue", LIMIT, || {
            Ok((queue_depth(server.address())? == 3).then_some(()))
        })?;
        server.signal(libc::SIGTERM);
        for worker in &workers {
            until("the order to stop", LIMIT, || Ok(is_pending(*worker, libc::SIGTERM)?.then_some(())))?;
            send(*worker, libc::SIGCONT)?;
        }
        let seen = clients.finish()?;
        assert_eq!(seen.count("reset"), 3, "{seen:?}");
        let drops = Drops::of(&trace.end()?)?;
        assert_eq!(drops.counts().into_iter().collect::<Vec<_>>(), [("listener_closed", 3)], "{drops:?}");
        assert_eq!(drops.served, 0, "{drops:?}");
    }
    Ok(())
}
