//! The attach plan: a pure function of what the kernel allows and what the user wants.
//!
//! In: [`Capabilities`], [`Settings`]. Out: [`Plan`], or the reason why there can be none.

use profiler_core::fact::MissingProgram;

use super::AttachError;
use super::table::{Form, PROGRAMS, Place, ProgramEntry};
use crate::capability::Capabilities;

/// How system calls are hooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hooks {
    /// Chosen by how much of the machine's load is the target's.
    #[default]
    Auto,
    /// Two programs see every system call of the machine: cheapest for the target, attached and detached at once.
    Btf,
}

/// What the user wants of the attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How system calls are hooked.
    pub hooks: Hooks,
    /// Bytes of the ring buffer (a power of two, at least a page); `None`: `profiler_common::limits::RING_BYTES`.
    pub ring_bytes: Option<u32>,
    /// Threads followed at once; `None`: `profiler_common::limits::MAX_THREADS`.
    pub max_threads: Option<u32>,
}

/// What will be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Programs, in the order of attaching.
    pub programs: Vec<&'static ProgramEntry>,
    /// Programs that this kernel cannot have.
    pub missing: Vec<MissingProgram>,
    /// How system calls are hooked, as the attach report names it.
    pub hooks: &'static str,
    /// Why these hooks were chosen.
    pub hooks_reason: String,
}

/// Plans the attach.
///
/// # Errors
/// If this process may not, or this kernel cannot.
pub fn plan(capabilities: &Capabilities, settings: &Settings) -> Result<Plan, AttachError> {
    let missing = capabilities.missing_privileges();
    if !missing.is_empty() {
        return Err(AttachError::Privileges { missing });
    }
    let hooks_reason = match settings.hooks {
        Hooks::Auto => "the default".to_owned(),
        Hooks::Btf => "asked for".to_owned(),
    };
    let mut plan = Plan { programs: Vec::new(), missing: Vec::new(), hooks: "btf", hooks_reason };
    let mut lacks: Vec<String> =
        capabilities.missing_helpers.iter().map(|helper| format!("the helper {helper}")).collect();
    for program in PROGRAMS.iter().filter(|program| matches!(program.form, Form::Always | Form::Btf)) {
        let (exists, place) = match program.place {
            Place::Tracepoint(name) => {
                (capabilities.tracepoints.contains(&name), format!("the tracepoint {name}"))
            }
            Place::Iterator(name) => (capabilities.iterators.contains(&name), format!("the iterator {name}")),
        };
        if exists {
            plan.programs.push(program);
        } else if program.required {
            lacks.push(place);
        } else {
            plan.missing.push(MissingProgram {
                program: program.name.to_owned(),
                reason: format!("this kernel lacks {place} ({})", program.needs),
                consequence: program.consequence.to_owned(),
            });
        }
    }
    if lacks.is_empty() {
        Ok(plan)
    } else {
        Err(AttachError::KernelTooOld { release: capabilities.kernel_release.clone(), lacks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(has: impl Fn(&str) -> bool) -> Capabilities {
        let mut capabilities = Capabilities {
            kernel_release: "5.10.0-test".to_owned(),
            effective: u64::MAX,
            ..Default::default()
        };
        capabilities.look_up(has);
        capabilities
    }

    #[test]
    fn new_kernel_gets_every_program() {
        let plan = plan(&kernel(|_| true), &Settings::default()).unwrap();
        assert_eq!(plan.programs.len(), PROGRAMS.len());
        assert!(plan.missing.is_empty());
    }

    #[test]
    fn kernel_without_arrivals_is_planned_around_them_and_says_so() {
        let plan = plan(&kernel(|name| name != "btf_trace_sk_data_ready"), &Settings::default()).unwrap();
        assert_eq!(plan.programs.len(), PROGRAMS.len() - 1);
        assert_eq!(plan.missing.len(), 1);
        assert_eq!(plan.missing[0].program, "sk_data_ready");
    }

    #[test]
    fn kernel_5_10_is_refused_in_one_sentence() {
        let old =
            ["bpf_task_storage_get", "bpf_get_current_task_btf", "bpf_task_pt_regs", "bpf_sock_from_file"];
        let error = plan(&kernel(|name| !old.contains(&name)), &Settings::default()).unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.starts_with("Linux 5.10.0-test is too old"), "{sentence}");
        assert!(sentence.contains("bpf_task_storage_get") && sentence.contains("5.15"), "{sentence}");
    }

    #[test]
    fn user_without_privileges_is_told_which() {
        let mut capabilities = kernel(|_| true);
        capabilities.effective = 0;
        let error = plan(&capabilities, &Settings::default()).unwrap_err();
        assert!(error.to_string().contains("CAP_BPF and CAP_PERFMON"), "{error}");
    }
}
