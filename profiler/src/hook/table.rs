//! The attach table: every program with its place, what it is for and what is lost without it.
//!
//! In: nothing. Out: [`PROGRAMS`]. A test holds it against the object, so that neither names a program the
//! other lacks.

use super::Hooks;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachPoint {
    /// A tracepoint with typed arguments (`tp_btf`).
    Tracepoint(&'static str),
    /// The entry of a kernel function (`fentry`).
    Function(&'static str),
    /// The return of a kernel function (`fexit`), with what it returns (the helper `bpf_get_func_ret`).
    Return(&'static str),
    /// An iterator, run by user space.
    Iterator(&'static str),
    /// The tracepoints `syscalls:PREFIX…` of all observed calls that this kernel has.
    SystemCalls(&'static str),
    /// A clock on each CPU (`perf_event`, `cpu-clock`).
    Clock,
    /// Probes in the code of processes: loaded where `--gil` or `--tls` wants them, attached to files as they
    /// are found.
    Process,
}

/// With which form of the system-call hooks a program is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With any, and in light mode.
    Always,
    /// Wherever system calls are hooked, in whichever form.
    Calls,
    /// Only where all system calls are hooked at once.
    Btf,
    /// Only where each observed call is hooked by itself.
    Tracepoints,
    /// Only in light mode, where no system call is hooked.
    Light,
}

impl Form {
    /// Whether programs of this form are attached with these hooks.
    pub const fn goes_with(self, hooks: Hooks) -> bool {
        match self {
            Self::Always => true,
            Self::Calls => !matches!(hooks, Hooks::Light),
            Self::Btf => matches!(hooks, Hooks::Btf | Hooks::Auto),
            Self::Tracepoints => matches!(hooks, Hooks::Tracepoints),
            Self::Light => matches!(hooks, Hooks::Light),
        }
    }
}

/// One program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramEntry {
    /// Name of the function in the object.
    pub name: &'static str,
    /// Where it is attached.
    pub place: AttachPoint,
    /// With which form of the system-call hooks.
    pub form: Form,
    /// Nothing works without it.
    pub required: bool,
    /// What it needs of the kernel.
    pub needs: &'static str,
    /// The question it serves.
    pub question: &'static str,
    /// What the report cannot say without it.
    pub consequence: &'static str,
}

const fn required(
    name: &'static str,
    place: AttachPoint,
    form: Form,
    question: &'static str,
) -> ProgramEntry {
    ProgramEntry {
        name,
        place,
        form,
        required: true,
        needs: "Linux 5.15",
        question,
        consequence: "nothing can be measured",
    }
}

const fn full_queue(name: &'static str) -> ProgramEntry {
    ProgramEntry {
        name,
        place: AttachPoint::Function(name),
        form: Form::Calls,
        required: false,
        needs: "a kernel built with function tracing",
        question: "which clients found an accept queue full, and how long that kept them",
        consequence: "clients that a full accept queue delayed are not distinguished from attempts that were refused",
    }
}

/// The function of a system call, which no other call pays for.
const fn returning_accept(name: &'static str, function: &'static str) -> ProgramEntry {
    ProgramEntry {
        name,
        place: AttachPoint::Return(function),
        form: Form::Light,
        required: false,
        needs: "a kernel built with function tracing",
        question: "which accepts failed",
        consequence: "accepts that fail for want of a file descriptor or of memory are not seen",
    }
}

/// The functions of the system calls `accept` and `accept4`: on each architecture others.
const ACCEPTS: [&str; 2] = if cfg!(target_arch = "aarch64") {
    ["__arm64_sys_accept", "__arm64_sys_accept4"]
} else {
    ["__x64_sys_accept", "__x64_sys_accept4"]
};

const fn probe(name: &'static str, question: &'static str) -> ProgramEntry {
    ProgramEntry {
        name,
        place: AttachPoint::Process,
        form: Form::Calls,
        required: false,
        needs: "CONFIG_UPROBE_EVENTS",
        question,
        consequence: "waits for the GIL are known from system calls alone",
    }
}

/// What is missed without probes in OpenSSL.
pub const WITHOUT_TLS_PROBES: &str = "method, path and status of requests over TLS are hidden";

/// A probe in the server's OpenSSL.
const fn tls_probe(name: &'static str, question: &'static str) -> ProgramEntry {
    ProgramEntry { consequence: WITHOUT_TLS_PROBES, ..probe(name, question) }
}

/// All programs, in the order in which they are attached. What ends and makes threads comes first, so that
/// none is missed between. The iterators, which look for what was there before, come last.
pub const PROGRAMS: &[ProgramEntry] = &[
    required(
        "sched_process_exit",
        AttachPoint::Tracepoint("sched_process_exit"),
        Form::Always,
        "which threads ended, and how",
    ),
    required(
        "sched_process_fork",
        AttachPoint::Tracepoint("sched_process_fork"),
        Form::Always,
        "which threads and workers are new",
    ),
    required(
        "sched_process_exec",
        AttachPoint::Tracepoint("sched_process_exec"),
        Form::Always,
        "which process became another program",
    ),
    required(
        "sched_switch",
        AttachPoint::Tracepoint("sched_switch"),
        Form::Always,
        "when a thread is on a CPU and when not",
    ),
    required(
        "sched_wakeup",
        AttachPoint::Tracepoint("sched_wakeup"),
        Form::Always,
        "how long a thread waits for a CPU",
    ),
    required("sched_waking", AttachPoint::Tracepoint("sched_waking"), Form::Always, "who woke a thread"),
    required(
        "inet_sock_set_state",
        AttachPoint::Tracepoint("inet_sock_set_state"),
        Form::Always,
        "when a client's connection was made",
    ),
    ProgramEntry {
        name: "sk_data_ready",
        place: AttachPoint::Tracepoint("sk_data_ready"),
        form: Form::Always,
        required: false,
        needs: "Linux 6.3",
        question: "when a request's first byte arrived",
        consequence: "a request begins when it is read, not when it arrived: its wait before that is undecided",
    },
    full_queue("tcp_conn_request"),
    full_queue("tcp_v4_syn_recv_sock"),
    full_queue("tcp_v6_syn_recv_sock"),
    ProgramEntry {
        name: "unix_find_other",
        place: AttachPoint::Return("unix_find_other"),
        form: Form::Calls,
        required: false,
        needs: "Linux 5.17, a kernel built with function tracing",
        question: "how often a client found the accept queue of a UNIX socket full",
        consequence: "clients that find a UNIX socket's accept queue full are not counted: only for how long it was full is known",
    },
    ProgramEntry {
        name: "tcp_receive_reset",
        place: AttachPoint::Tracepoint("tcp_receive_reset"),
        form: Form::Always,
        required: false,
        needs: "Linux 4.15 with INET",
        question: "which clients reset their connection",
        consequence: "a client that left while its response was on its way counts as served, unless a call failed by it",
    },
    ProgramEntry {
        name: "tcp_send_reset",
        place: AttachPoint::Tracepoint("tcp_send_reset"),
        form: Form::Always,
        required: false,
        needs: "Linux 4.15 with INET",
        question: "which connections were reset because nobody had read what the client had sent",
        consequence: "a connection that was closed with unread data, or as a request arrived, counts as closed in order",
    },
    ProgramEntry {
        name: "signal_generate",
        place: AttachPoint::Tracepoint("signal_generate"),
        form: Form::Always,
        required: false,
        needs: "Linux 2.6.32",
        question: "who killed a worker",
        consequence: "of a worker that was killed only the signal is known, not who sent it",
    },
    ProgramEntry {
        name: "mark_victim",
        place: AttachPoint::Tracepoint("mark_victim"),
        form: Form::Always,
        required: false,
        needs: "Linux 4.14",
        question: "whether a worker was killed because memory ran out",
        consequence: "a worker killed as memory ran out counts as killed by SIGKILL",
    },
    required(
        "sys_exit",
        AttachPoint::Tracepoint("sys_exit"),
        Form::Btf,
        "what a system call did, and how long",
    ),
    required("sys_enter", AttachPoint::Tracepoint("sys_enter"), Form::Btf, "when a system call began"),
    required(
        "exit_call",
        AttachPoint::SystemCalls("sys_exit_"),
        Form::Tracepoints,
        "what a system call did, and how long",
    ),
    required(
        "enter_call",
        AttachPoint::SystemCalls("sys_enter_"),
        Form::Tracepoints,
        "when a system call began",
    ),
    probe("gil_waits", "who is about to wait for the GIL"),
    probe("gil_enters", "when an attempt to take the GIL began"),
    probe("gil_unlocks", "when the GIL was taken"),
    probe("gil_leaves", "when an attempt to take the GIL returned"),
    tls_probe("tls_reads", "where SSL_read puts what a client asks"),
    tls_probe("tls_reads_ex", "the same of SSL_read_ex"),
    tls_probe("tls_returns", "what a client asks over TLS"),
    tls_probe("tls_writes", "with which status a client is answered over TLS"),
    required(
        "light_received",
        AttachPoint::Tracepoint("sock_recv_length"),
        Form::Light,
        "when a thread received a client's bytes",
    ),
    required(
        "light_sent",
        AttachPoint::Tracepoint("sock_send_length"),
        Form::Light,
        "when a thread sent a client its bytes",
    ),
    returning_accept("accept_returns", ACCEPTS[0]),
    returning_accept("accept4_returns", ACCEPTS[1]),
    ProgramEntry {
        name: "clock",
        place: AttachPoint::Clock,
        form: Form::Always,
        required: false,
        needs: "Linux 5.17",
        question: "at which lines of Python requests compute",
        consequence: "computing has no lines",
    },
    required("iterate_tasks", AttachPoint::Iterator("task"), Form::Always, "which threads were there before"),
    required(
        "iterate_files",
        AttachPoint::Iterator("task_file"),
        Form::Always,
        "which sockets were open before",
    ),
    ProgramEntry {
        name: "iterate_waiting",
        place: AttachPoint::Iterator("task_file"),
        form: Form::Always,
        required: false,
        needs: "Linux 6.1",
        question: "which connections nobody had served as the window ended",
        consequence: "connections that nobody had served as the window ended are in no number",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

    use super::*;

    #[test]
    fn table_and_object_name_the_same_programs() {
        let object = object::File::parse(crate::hook::OBJECT).unwrap();
        let in_object: BTreeSet<&str> = object
            .symbols()
            .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.is_global())
            .filter(|symbol| {
                let section = symbol.section_index().and_then(|index| object.section_by_index(index).ok());
                section.is_some_and(|section| section.name() != Ok(".text"))
            })
            .filter_map(|symbol| symbol.name().ok())
            .collect();
        let in_table: BTreeSet<&str> = PROGRAMS.iter().map(|program| program.name).collect();
        assert_eq!(in_object, in_table);
        assert_eq!(in_table.len(), PROGRAMS.len(), "a name occurs twice");
    }

    #[test]
    fn iterators_come_after_every_hook() {
        let first =
            PROGRAMS.iter().position(|program| matches!(program.place, AttachPoint::Iterator(_))).unwrap();
        assert!(PROGRAMS[first..].iter().all(|program| matches!(program.place, AttachPoint::Iterator(_))));
    }

    #[test]
    fn optional_programs_say_what_is_lost() {
        for program in PROGRAMS.iter().filter(|program| !program.required) {
            assert_ne!(program.consequence, "nothing can be measured", "{}", program.name);
        }
    }
}
