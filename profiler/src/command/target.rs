//! From `--pid`, `--port` or `--name` to the processes of one server.
//!
//! In: the target options. Out: the server's tree and the process that stands for it.

use crate::attach;
use crate::cli::{Gil, GilWay, Hooks, Target, Watch as WatchOptions};
use crate::fact::find::{find_by_name, find_by_port};
use crate::fact::{FactError, Proc, Tree, server_tree};
use crate::output_file::OutputFile;
use crate::session::attached::Watch;

/// The server that the options name, and the process that stands for it.
///
/// # Errors
/// If there is no such process, or it may not be looked at, or several servers fit.
pub fn find(target: &Target) -> Result<(Tree, u32), FactError> {
    let proc = Proc::default();
    if let Some(pid) = target.pid {
        let tree = server_tree(&proc, pid)?;
        // Not so where a shell, a supervisor or a thread was named.
        let stands = if tree.tgids.contains(&pid) { pid } else { tree.root };
        return Ok((tree, stands));
    }
    let tree = match (&target.port, &target.name) {
        (Some(port), _) => find_by_port(&proc, port.get())?,
        (None, name) => find_by_name(&proc, name.as_deref().unwrap_or_default())?,
    };
    let pid = tree.root;
    Ok((tree, pid))
}

/// How to hook system calls.
#[must_use]
pub const fn hooks(hooks: Hooks, light: bool) -> attach::Hooks {
    match hooks {
        _ if light => attach::Hooks::Light,
        Hooks::Auto => attach::Hooks::Auto,
        Hooks::Btf => attach::Hooks::Btf,
        Hooks::Tracepoints => attach::Hooks::Tracepoints,
    }
}

/// How to see waits for the interpreter lock; in light mode not at all.
#[must_use]
pub const fn gil(gil: Gil, light: bool) -> attach::gil::Wanted {
    use attach::gil::Mode;

    let mode = match gil.way {
        _ if light => Mode::Off,
        GilWay::Auto => Mode::Auto,
        GilWay::Syscalls => Mode::SystemCalls,
        GilWay::Uprobes => Mode::Uprobes,
        GilWay::Full => Mode::Full,
        GilWay::Off => Mode::Off,
    };
    attach::gil::Wanted { mode, single_step: gil.gil_single_step }
}

/// What to watch, from the options.
///
/// # Errors
/// As [`find`].
pub fn watch(
    target: &Target,
    options: &WatchOptions,
    record: Option<OutputFile>,
) -> Result<Watch, FactError> {
    let (tree, named_pid) = find(target)?;
    let hooks = hooks(options.hooks, options.light);
    Ok(Watch {
        tree,
        named_pid,
        attach: attach::Settings {
            hooks,
            gil: gil(options.gil, options.light),
            ring_bytes: options.ring_bytes,
            ..attach::Settings::default()
        },
        record,
    })
}
