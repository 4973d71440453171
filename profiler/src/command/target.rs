//! From `--pid`, `--port` or `--name` to the processes of one server.
//!
//! In: the target options. Out: the server's tree and the process that stands for it.

use std::io::Write as _;

use crate::attach;
use crate::cli::front_end::{FrontEnd, Which};
use crate::cli::looks::{Looks, LooksAt};
use crate::cli::tls::{Tls, TlsWay};
use crate::cli::{Gil, GilWay, Hooks, Target, Watch as WatchOptions};
use crate::fact::asleep;
use crate::fact::find::{find_by_name, find_by_port};
use crate::fact::{FactError, Proc, Tree, Watched, find_front_end, server_tree};
use crate::output_file::OutputFile;
use crate::report::escape;
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
pub const fn hooks(hooks: Hooks, light: bool) -> attach::Hooks {
    match hooks {
        _ if light => attach::Hooks::Light,
        Hooks::Auto => attach::Hooks::Auto,
        Hooks::Btf => attach::Hooks::Btf,
        Hooks::Tracepoints => attach::Hooks::Tracepoints,
    }
}

/// How to see waits for the GIL.
pub const fn gil(gil: Gil, light: bool) -> attach::gil::Wanted {
    use attach::gil::Mode;

    let mode = match gil.way {
        _ if light => Mode::Sleeps,
        GilWay::Auto => Mode::Auto,
        GilWay::Syscalls => Mode::SystemCalls,
        GilWay::Uprobes => Mode::Uprobes,
        GilWay::Full => Mode::Full,
        GilWay::Off => Mode::Off,
    };
    // In light mode no probe is placed.
    attach::gil::Wanted { mode, single_step: gil.gil_single_step && !light, stacks: gil.stacks }
}

/// When the server's OpenSSL gets probes. In light mode no probe is placed.
pub const fn tls(tls: Tls, light: bool) -> attach::tls::Mode {
    use attach::tls::Mode;

    match tls.names {
        _ if light => Mode::Off,
        TlsWay::Auto => Mode::Auto,
        TlsWay::Uprobes => Mode::Uprobes,
        TlsWay::Off => Mode::Off,
    }
}

/// What is looked at of threads that sleep for long.
pub const fn looks(looks: &Looks) -> asleep::Looks {
    match looks.at {
        LooksAt::All => asleep::Looks::All,
        LooksAt::Own => asleep::Looks::Own,
        LooksAt::Off => asleep::Looks::Off,
    }
}

/// The server with what stands before it, if that is to be traced too; says what that is.
///
/// # Errors
/// If nothing is found there, or more than one fits.
pub fn with_front_end(server: Tree, options: &FrontEnd, quiet: bool) -> Result<Watched, FactError> {
    let Some(which) = options.with_front_end else { return Ok(Watched { server, front_end: None }) };
    let pid = match which {
        Which::Found => None,
        Which::Pid(pid) => Some(pid),
    };
    let found = find_front_end(&Proc::default(), &server, pid)?;
    if !quiet {
        let name = escape::line(&found.name, 40, escape::Charset::Ascii);
        // Nobody may be reading: then there is nobody to tell.
        let _ = writeln!(
            std::io::stderr(),
            "wsgi-trace: with the front end {name}, process {} and {} more ({})",
            found.tree.root,
            found.tree.tgids.len().saturating_sub(1),
            found.by
        );
    }
    Ok(Watched { server, front_end: Some(found.tree) })
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
    let (server, named_pid) = find(target)?;
    let watched = with_front_end(server, &options.front_end, options.quiet)?;
    let hooks = hooks(options.hooks, options.light);
    Ok(Watch {
        watched,
        named_pid,
        attach: attach::Settings {
            hooks,
            gil: gil(options.gil, options.light),
            tls: tls(options.tls, options.light),
            looks: looks(&options.looks),
            ring_bytes: options.ring_bytes,
            ..attach::Settings::default()
        },
        own: options.looks.own.clone(),
        record,
        keep: None,
        left_out: None,
    })
}
