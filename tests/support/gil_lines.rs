//! Lines of the demo's application in which requests keep the interpreter lock, and in which those stand that
//! want it.
//!
//! In: a server with that application, what was traced of it, its witness, the kernel's tracer. Out: load; a
//! verdict on each request that waited.

use anyhow::{Context as _, ensure};

use crate::address::Address;
use crate::load::Load;
use crate::root;
use crate::switches::Waits;
use crate::trace::{Site, TracedRequest};
use crate::witness::Witness;

/// Milliseconds after which a request wants the lock that another keeps for longer.
const WANT_MS: u32 = 20;
/// For how long that one keeps it.
const HOLD_MS: u32 = 80;

/// Number of the line in which the lock is kept, from 1.
///
/// # Errors
///
/// Where the source has no such line, or several.
pub fn keeping() -> anyhow::Result<u64> {
    line_of("    keep_lock.clock_nanosleep(")
}

/// Number of the line in which a request stands that wants it.
///
/// # Errors
///
/// As [`keeping`].
pub fn wanting() -> anyhow::Result<u64> {
    line_of("    release_lock.clock_nanosleep(")
}

fn line_of(text: &str) -> anyhow::Result<u64> {
    let source = std::fs::read_to_string(root().join("tests/apps/demo_app.py"))?;
    let mut lines = source.lines().zip(1..).filter(|(line, _)| line.contains(text));
    let (_, number) = lines.next().with_context(|| format!("no line holds {text:?}"))?;
    ensure!(lines.next().is_none(), "several lines hold {text:?}");
    Ok(number)
}

/// Pairs of requests: one keeps the lock in C code, called from a known line, the other wants it meanwhile.
/// Returns how many were answered.
///
/// # Errors
///
/// Where the clients fail.
pub fn hold_and_want(address: &Address, pairs: usize) -> anyhow::Result<usize> {
    let count = pairs.to_string();
    let start = |route: &str| {
        Load::start(address, &["--requests", &count, "--seconds", "60", "--clients", "1", "--routes", route])
    };
    let wants = start(&format!("/truth/want/{WANT_MS}"))?;
    let holds = start(&format!("/truth/hold/{HOLD_MS}"))?;
    Ok(wants.finish()?.answered() + holds.finish()?.answered())
}

/// A request that wanted the lock, by its own clock and its holder's.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Who wanted it.
    pub want: &'a Witness,
    /// Who held it.
    pub hold: &'a Witness,
    /// From the moment it wanted the lock to the one it had it.
    pub waited_ns: u64,
    /// From the same moment to the one at which its holder was done.
    pub kept_ns: u64,
    /// For how long it was ready and had no CPU meanwhile, by the kernel's tracer: it asked for the lock
    /// later. (The kernel's own account leaves out what a quota takes from a thread that could run on.)
    pub without_cpu_ns: u64,
}

/// Those that wanted the lock, in the order of their witness.
///
/// # Errors
///
/// Where nobody held it when one wanted it.
pub fn wanted<'a>(witnesses: &'a [Witness], waits: &Waits) -> anyhow::Result<Vec<Wanted<'a>>> {
    let of = |want: &'a Witness| {
        let wanted_ns = want.until_ns.context("no moment")?;
        let holds = witnesses.iter().filter(|witness| witness.kind == "hold");
        let (hold, until_ns) = holds
            .filter_map(|hold| Some((hold, hold.until_ns?)))
            .find(|(hold, until_ns)| (hold.start_ns..*until_ns).contains(&wanted_ns))
            .context("nobody held the lock")?;
        Ok(Wanted {
            want,
            hold,
            waited_ns: want.end_ns.saturating_sub(wanted_ns),
            kept_ns: until_ns - wanted_ns,
            without_cpu_ns: waits.of(want.tid, &(wanted_ns..want.end_ns)),
        })
    };
    witnesses.iter().filter(|witness| witness.kind == "want").map(of).collect()
}

/// Compares the longest wait of each request that wanted the lock with its own clock and with the source.
/// Returns how many there were.
///
/// # Errors
///
/// What is not as the application says.
pub fn check(requests: &[TracedRequest], witnesses: &[Witness], waits: &Waits) -> anyhow::Result<usize> {
    let (keeping, wanting) = (keeping()?, wanting()?);
    let mut checked = 0;
    for Wanted { want, hold, waited_ns, kept_ns, without_cpu_ns } in wanted(witnesses, waits)? {
        let wanted_ns = want.until_ns.context("no moment")?;
        let path = format!("/truth/want/{WANT_MS}/{}", want.id);
        let ours = requests.iter().find(|request| request.path() == path).context("a request is missing")?;
        let listed = ours.gil_waits.as_ref().and_then(|waits| waits.listed.first());
        let longest = listed.with_context(|| format!("no wait: {ours:#?}"))?;
        // The thread asks for the lock a moment after it wanted it, and has it a moment before it can look at
        // its clock.
        eprintln!(
            "request {}: {:.2} ms in the line that waits, by its own clock {:.2}, of which the lock was kept for {:.2} ({:.2} ready without a CPU)",
            want.id,
            longest.wait_ns as f64 / 1e6,
            waited_ns as f64 / 1e6,
            kept_ns as f64 / 1e6,
            without_cpu_ns as f64 / 1e6
        );
        ensure!(is_at(longest.stood_at.as_ref(), "want", wanting), "it stood elsewhere: {longest:#?}");
        let held_at = longest.held_at.as_ref().map(|held_at| &held_at.site);
        ensure!(is_at(held_at, "hold", keeping), "the holder was elsewhere: {longest:#?}");
        let holder = (longest.holder.endpoint.as_deref(), longest.holder.tid);
        ensure!(
            holder == (Some("GET /truth/hold/{number}/{number}"), Some(hold.tid)),
            "{hold:?}: {longest:#?}"
        );
        ensure!(longest.start_ns >= wanted_ns, "it began too early: {longest:#?}");
        ensure!(
            longest.wait_ns <= waited_ns && longest.wait_ns + without_cpu_ns > kept_ns - kept_ns / 50,
            "{kept_ns} ns kept, {waited_ns} waited: {longest:#?}"
        );
        checked += 1;
    }
    Ok(checked)
}

fn is_at(site: Option<&Site>, function: &str, line: u64) -> bool {
    site.is_some_and(|Site { at, called_from }| {
        at.file.ends_with("/demo_app.py")
            && (at.function.as_str(), at.line) == (function, Some(line))
            && called_from.as_ref().is_some_and(|from| from.function == "truth")
    })
}
