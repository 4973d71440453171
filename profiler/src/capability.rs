//! What this kernel and this process allow, as a value.
//!
//! In: `/sys/kernel/btf/vmlinux`, `/proc/self/status`, `uname`. Out: [`Capabilities`]. They are probed, not
//! derived from a kernel version: a helper or tracepoint exists if the kernel's own type information names
//! it.

pub mod kernel_btf;
pub mod tried;

use std::path::Path;

use kernel_btf::KernelBtf;

use crate::hook::table::{AttachPoint, PROGRAMS};
use crate::hook::{OBJECT, perf, stack, tracefs};

/// Where the kernel publishes its type information.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// `CAP_SYS_ADMIN`, which includes the two below (include/uapi/linux/capability.h).
const CAP_SYS_ADMIN: u32 = 21;
/// `CAP_PERFMON`.
const CAP_PERFMON: u32 = 38;
/// `CAP_BPF`.
const CAP_BPF: u32 = 39;

/// A capability that answers more than loading programs needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// Its name.
    pub name: &'static str,
    /// What it allows.
    pub allows: &'static str,
    /// What is not known without it.
    pub without: &'static str,
    bit: u32,
}

/// What else to grant, for servers of other users (numbers: include/uapi/linux/capability.h).
pub const PRIVILEGES: [Privilege; 4] = [
    Privilege {
        name: "CAP_SYS_PTRACE",
        allows: "looking at other users' processes",
        without: "their sockets, memory and interpreters stay unknown",
        bit: 19,
    },
    Privilege {
        name: "CAP_DAC_READ_SEARCH",
        allows: "reading other users' file descriptors, and the tracing directory",
        without: "their listeners are not found",
        bit: 2,
    },
    Privilege {
        name: "CAP_CHECKPOINT_RESTORE",
        allows: "reading the files that other users' processes have mapped",
        without: "the GIL is not found where the interpreter's file was replaced since it was started",
        bit: 40,
    },
    Privilege {
        name: "CAP_SYS_ADMIN",
        allows: "the run time of the kernel programs, accept queues in other network namespaces (containers), and probes in interpreters",
        without: "the report does not say what it cost the kernel, nor how full such queues were, nor on musl who waited for the GIL",
        bit: CAP_SYS_ADMIN,
    },
];

/// What to grant where root is not wanted: to load programs, and to look at servers of other users.
pub const CAPABILITIES_WANTED: &str =
    "CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and CAP_CHECKPOINT_RESTORE";
/// Capabilities that are needed to look at servers of other users.
pub const LOOKING_WANTED: &str = "CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and CAP_CHECKPOINT_RESTORE";

/// Where a kernel says how far it is locked down: all levels, the present one in brackets
/// (security/lockdown/lockdown.c).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What this kernel and this process allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Kernel release, as `uname -r`.
    pub kernel_release: String,
    /// Effective capabilities of this process, one bit each.
    pub effective: u64,
    /// The kernel publishes its type information, and it could be read.
    pub has_btf: bool,
    /// Helpers (`bpf_…`) that the programs need and this kernel lacks.
    pub missing_helpers: Vec<&'static str>,
    /// Tracepoints that typed programs can hook here, of those the attach table names.
    pub tracepoints: Vec<&'static str>,
    /// Functions whose entry (or return, where the table says so) can be hooked here, of those the attach
    /// table names.
    pub functions: Vec<&'static str>,
    /// Iterators that exist here, of those the attach table names.
    pub iterators: Vec<&'static str>,
    /// This process is in a PID namespace of its own: its numbers of processes are not the kernel's.
    pub nested_pid_namespace: bool,
    /// How far the kernel is locked down, in its own word; `None`: not at all, or it does not say
    /// (securityfs is not mounted).
    pub lockdown: Option<String>,
    /// Why no probe may be placed in the code of processes; `None`: they may.
    pub no_probes: Option<String>,
    /// Why the tracepoints of single system calls cannot be used; `None`: they can.
    pub no_call_tracepoints: Option<String>,
}

/// Helpers without which the programs cannot work; the newest, `bpf_task_pt_regs`, came with Linux 5.15.
const HELPERS: &[&str] = &[
    "bpf_ringbuf_output",
    "bpf_get_current_task_btf",
    "bpf_task_storage_get",
    "bpf_sock_from_file",
    "bpf_task_pt_regs",
];

impl Capabilities {
    /// Probes the running kernel. `btf` is what [`KernelBtf::load`] gave, if it gave anything.
    pub fn probe(btf: Option<&KernelBtf>) -> Self {
        let effective = own_capabilities();
        let mut capabilities = Self {
            kernel_release: kernel_release(),
            effective,
            nested_pid_namespace: pid_namespace().is_some_and(|inode| inode != INITIAL_PID_NAMESPACE),
            no_call_tracepoints: no_call_tracepoints(effective),
            no_probes: Self::no_probes(),
            lockdown: lockdown(&std::fs::read_to_string(LOCKDOWN).unwrap_or_default()),
            ..Self::default()
        };
        if let Some(btf) = btf {
            capabilities.look_up(|name| btf.has(name));
        }
        capabilities
    }

    /// Why no probe may be placed in the code of processes, as a clause; `None`: they may.
    pub fn no_probes() -> Option<String> {
        if !Path::new("/sys/bus/event_source/devices/uprobe/type").exists() {
            return Some("this kernel has no probes in processes (CONFIG_UPROBE_EVENTS)".to_owned());
        }
        let probes = PROGRAMS.iter().filter(|program| program.place == AttachPoint::Process);
        let largest = probes.filter_map(|program| stack::bytes(OBJECT, program.name)).max().unwrap_or(0);
        // Read only where the answer can matter: a test holds every probe below.
        let lends_stacks = largest >= stack::LENT_FROM_BYTES
            && KernelBtf::load(Path::new(KERNEL_BTF))
                .is_ok_and(|btf| btf.offset("bpf_prog_aux", "priv_stack_ptr").is_some());
        if lends_stacks {
            return Some(format!(
                "this kernel may panic where a probe with {largest} bytes of stack is preempted (Linux 6.13 and later)"
            ));
        }
        // Not CAP_PERFMON, as for all else: `perf_uprobe_event_init`, kernel/events/core.c.
        let may_place = has_bit(own_capabilities(), CAP_SYS_ADMIN);
        (!may_place).then(|| "the kernel lets only those place them who have CAP_SYS_ADMIN".to_owned())
    }

    /// Fills in what the kernel's type information shows; `has` says whether it names something.
    pub fn look_up(&mut self, has: impl Fn(&str) -> bool) {
        self.has_btf = true;
        self.missing_helpers = HELPERS.iter().copied().filter(|name| !has(name)).collect();
        for program in PROGRAMS {
            match program.place {
                AttachPoint::Tracepoint(name) if has(&format!("btf_trace_{name}")) => {
                    self.tracepoints.push(name)
                }
                AttachPoint::Function(name) if has(name) => self.functions.push(name),
                // The kernel's own name of the helper `bpf_get_func_ret` has no prefix.
                AttachPoint::Return(name) if has(name) && has("get_func_ret") => self.functions.push(name),
                AttachPoint::Iterator(name) if has(&format!("bpf_iter_{name}")) => self.iterators.push(name),
                _ => {}
            }
        }
    }

    /// Whether the kernel keeps its memory from everybody, programs in the kernel too
    /// (`LOCKDOWN_BPF_READ_KERNEL`, include/linux/security.h).
    pub fn hides_its_memory(&self) -> bool {
        self.lockdown.as_deref() == Some("confidentiality")
    }

    /// What the kernel has, whatever this process may.
    pub fn as_of_root(&self) -> Self {
        Self { effective: u64::MAX, nested_pid_namespace: false, ..self.clone() }
    }

    /// Whether this process has what goes beyond loading programs.
    pub const fn has(&self, privilege: &Privilege) -> bool {
        has_bit(self.effective, privilege.bit)
    }

    /// Names of the capabilities that this process would need and does not have.
    pub fn missing_privileges(&self) -> Vec<&'static str> {
        let has = |bit: u32| has_bit(self.effective, bit);
        if has(CAP_SYS_ADMIN) {
            return Vec::new();
        }
        [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
            .into_iter()
            .filter(|(bit, _)| !has(*bit))
            .map(|(_, name)| name)
            .collect()
    }
}

/// Why the tracepoints of single system calls cannot be used. Who lacks what loading takes is told that.
fn no_call_tracepoints(effective: u64) -> Option<String> {
    let is_root = has_bit(effective, CAP_SYS_ADMIN);
    let may_open = is_root || has_bit(effective, CAP_PERFMON);
    tracefs::unusable(is_root).or_else(|| may_open.then(perf::refused).flatten())
}

/// The level in brackets; `None`: the first, which forbids nothing.
fn lockdown(levels: &str) -> Option<String> {
    let (_, rest) = levels.split_once('[')?;
    let (level, _) = rest.split_once(']')?;
    (level != "none").then(|| level.to_owned())
}

fn pid_namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;

    std::fs::metadata("/proc/self/ns/pid").ok().map(|namespace| namespace.ino())
}

const fn has_bit(effective: u64, bit: u32) -> bool {
    effective >> bit & 1 == 1
}

fn own_capabilities() -> u64 {
    effective_capabilities(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn effective_capabilities(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .unwrap_or(0)
}

/// Kernel release, as `uname -r`.
pub fn kernel_release() -> String {
    let release = std::fs::read_to_string(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
    release.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrator_needs_nothing_more() {
        let status = "Name:\tx\nCapEff:\t000001ffffffffff\n";
        let capabilities =
            Capabilities { effective: effective_capabilities(status), ..Capabilities::default() };
        assert!(capabilities.missing_privileges().is_empty());
    }

    #[test]
    fn the_level_of_lockdown_is_the_one_in_brackets() {
        for (levels, expected) in [
            ("[none] integrity confidentiality\n", None),
            ("none [integrity] confidentiality\n", Some("integrity")),
            ("none integrity [confidentiality]\n", Some("confidentiality")),
            ("", None),
            ("[", None),
        ] {
            assert_eq!(lockdown(levels).as_deref(), expected, "{levels:?}");
            let capabilities = Capabilities { lockdown: lockdown(levels), ..Default::default() };
            assert_eq!(capabilities.hides_its_memory(), expected == Some("confidentiality"));
        }
    }

    #[test]
    fn ordinary_user_is_told_both_capabilities() {
        let capabilities =
            Capabilities { effective: effective_capabilities("CapEff:\t0\n"), ..Default::default() };
        assert_eq!(capabilities.missing_privileges(), ["CAP_BPF", "CAP_PERFMON"]);
    }

    #[test]
    fn bpf_and_perfmon_are_enough() {
        let effective = 1 << CAP_BPF | 1 << CAP_PERFMON;
        assert!(Capabilities { effective, ..Default::default() }.missing_privileges().is_empty());
    }

    #[test]
    fn kernel_without_task_storage_lacks_its_helper() {
        let mut capabilities = Capabilities::default();
        capabilities.look_up(|name| name != "bpf_task_storage_get" && name != "btf_trace_sk_data_ready");
        assert_eq!(capabilities.missing_helpers, ["bpf_task_storage_get"]);
        assert!(!capabilities.tracepoints.contains(&"sk_data_ready"));
        assert!(capabilities.tracepoints.contains(&"sys_enter"));
    }
}
