//! The attach plan: a pure function of what the kernel allows and what the user wants.
//!
//! In: [`Capabilities`], [`Settings`]. Out: [`Plan`], or the reason why there can be none.

use profiler_core::fact::{Attached, MissingProgram};

use super::AttachError;
use crate::capability::Capabilities;
use crate::fact::asleep::Looks;
use crate::hook::Hooks;
use crate::hook::table::{AttachPoint, PROGRAMS, ProgramEntry};

/// How busy the machine is, over a short sample before the attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// CPUs online.
    pub cpu_count: u32,
    /// Share of the machine's CPU time that the target used, in percent.
    pub target_percent: u32,
    /// Share that everybody else used, in percent.
    pub others_percent: u32,
}

/// CPUs from which on a machine counts as one that several services may share.
const SHARED_FROM_CPUS: u32 = 8;
/// Load by others from which on a machine counts as shared, in percent of its capacity.
const SHARED_FROM_PERCENT: u32 = 30;

impl Load {
    /// Whether others would pay more for our hooks than the target.
    pub const fn is_shared(&self) -> bool {
        self.cpu_count >= SHARED_FROM_CPUS
            && self.others_percent >= SHARED_FROM_PERCENT
            && self.others_percent > 2 * self.target_percent
    }
}

/// What the user wants of the attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How system calls are hooked.
    pub hooks: Hooks,
    /// Bytes that may be in use in the ring of each CPU; `None`: as `profiler_common::limits` says.
    pub ring_bytes: Option<u32>,
    /// How waits for the interpreter lock are seen.
    pub gil: super::gil::Wanted,
    /// When the server's OpenSSL gets probes.
    pub tls: super::tls::Mode,
    /// What is looked at of threads that sleep for long.
    pub looks: Looks,
    /// Light mode is refused where it would not see accepts that fail.
    pub all_of_light: bool,
    /// Threads followed at once; `None`: `profiler_common::limits::MAX_THREADS`.
    pub max_threads: Option<u32>,
}

impl Settings {
    /// Whether it is read where in Python threads are.
    pub fn reads_places(&self) -> bool {
        self.looks != Looks::Off && self.gil.mode != super::gil::Mode::Off
    }
}

/// What will be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Programs, in the order of attaching.
    pub programs: Vec<&'static ProgramEntry>,
    /// Programs that this kernel cannot have.
    pub missing: Vec<MissingProgram>,
    /// How system calls are hooked; never [`Hooks::Auto`].
    pub hooks: Hooks,
    /// Why these hooks were chosen.
    pub hooks_reason: String,
}

/// Plans the attach.
///
/// # Errors
/// If this process may not, or this kernel cannot.
pub fn plan(capabilities: &Capabilities, settings: &Settings, load: Load) -> Result<Plan, AttachError> {
    let missing = capabilities.missing_privileges();
    if !missing.is_empty() {
        return Err(AttachError::Privileges { missing });
    }
    if capabilities.nested_pid_namespace {
        return Err(AttachError::PidNamespace);
    }
    if capabilities.hides_its_memory() {
        return Err(AttachError::LockedDown);
    }
    let (hooks, hooks_reason) = choose(capabilities, settings.hooks, load)?;
    let mut plan = Plan { programs: Vec::new(), missing: Vec::new(), hooks, hooks_reason };
    let mut lacks: Vec<String> =
        capabilities.missing_helpers.iter().map(|helper| format!("the helper {helper}")).collect();
    for program in PROGRAMS.iter().filter(|program| program.form.goes_with(hooks)) {
        let (exists, place) = match program.place {
            AttachPoint::Tracepoint(name) => {
                (capabilities.tracepoints.contains(&name), format!("the tracepoint {name}"))
            }
            AttachPoint::Function(name) | AttachPoint::Return(name) => {
                (capabilities.functions.contains(&name), format!("the function {name}"))
            }
            AttachPoint::Iterator(name) => {
                (capabilities.iterators.contains(&name), format!("the iterator {name}"))
            }
            AttachPoint::SystemCalls(prefix) => (true, format!("tracepoints syscalls:{prefix}…")),
            AttachPoint::Clock if !settings.reads_places() => continue,
            AttachPoint::Clock => (true, "a clock on each CPU".to_owned()),
            // Wanted or not is decided by the interpreters that are found.
            AttachPoint::Process => continue,
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
    let unseen = plan.missing.iter().find(|one| Attached::OF_ACCEPTS.contains(&one.program.as_str()));
    if lacks.is_empty() {
        match unseen.filter(|_| settings.all_of_light) {
            Some(unseen) => Err(AttachError::NotAllOfLight { reason: unseen.reason.clone() }),
            None => Ok(plan),
        }
    } else if hooks == Hooks::Light {
        Err(AttachError::NoLight { release: capabilities.kernel_release.clone(), lacks })
    } else {
        Err(AttachError::KernelTooOld { release: capabilities.kernel_release.clone(), lacks })
    }
}

fn choose(capabilities: &Capabilities, wanted: Hooks, load: Load) -> Result<(Hooks, String), AttachError> {
    match wanted {
        Hooks::Btf | Hooks::Light => Ok((wanted, "asked for".to_owned())),
        Hooks::Tracepoints => match &capabilities.no_call_tracepoints {
            None => Ok((Hooks::Tracepoints, "asked for".to_owned())),
            Some(reason) => Err(AttachError::NoCallTracepoints { reason: reason.clone() }),
        },
        Hooks::Auto if !load.is_shared() => {
            Ok((Hooks::Btf, "the machine is small, or mostly the target's".to_owned()))
        }
        Hooks::Auto => match &capabilities.no_call_tracepoints {
            None => Ok((
                Hooks::Tracepoints,
                format!(
                    "others use {} % of the machine, the target {} %",
                    load.others_percent, load.target_percent
                ),
            )),
            Some(reason) => Ok((Hooks::Btf, format!("tracepoints of single calls cannot be used: {reason}"))),
        },
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
        let plan = plan(&kernel(|_| true), &Settings::default(), Load::default()).unwrap();
        let names: Vec<_> = plan.programs.iter().map(|program| program.name).collect();
        let elsewhere = |program: &&ProgramEntry| {
            !program.form.goes_with(Hooks::Btf) || program.place == AttachPoint::Process
        };
        assert_eq!(names.len(), PROGRAMS.len() - PROGRAMS.iter().filter(elsewhere).count());
        assert!(plan.missing.is_empty());
    }

    #[test]
    fn kernel_without_arrivals_is_planned_around_them_and_says_so() {
        let plan =
            plan(&kernel(|name| name != "btf_trace_sk_data_ready"), &Settings::default(), Load::default())
                .unwrap();
        assert!(plan.programs.iter().all(|program| program.name != "sk_data_ready"));
        assert_eq!(plan.missing.len(), 1);
        assert_eq!(plan.missing[0].program, "sk_data_ready");
    }

    #[test]
    fn kernel_5_10_is_refused_in_one_sentence() {
        let old =
            ["bpf_task_storage_get", "bpf_get_current_task_btf", "bpf_task_pt_regs", "bpf_sock_from_file"];
        let error =
            plan(&kernel(|name| !old.contains(&name)), &Settings::default(), Load::default()).unwrap_err();
        let sentence = error.to_string();
        assert!(
            sentence.starts_with("Linux 5.10.0-test lacks what tracing needs: the helper bpf_"),
            "{sentence}"
        );
        assert!(old.iter().all(|helper| sentence.contains(helper)), "{sentence}");
    }

    /// What the kernel's type information calls the feature that a program needs.
    fn feature_of(program: &ProgramEntry) -> Option<String> {
        match program.place {
            AttachPoint::Tracepoint(name) => Some(format!("btf_trace_{name}")),
            AttachPoint::Function(name) | AttachPoint::Return(name) => Some(name.to_owned()),
            AttachPoint::Iterator(name) => Some(format!("bpf_iter_{name}")),
            AttachPoint::SystemCalls(_) | AttachPoint::Clock | AttachPoint::Process => None,
        }
    }

    #[test]
    fn each_feature_that_is_taken_away_is_named_with_what_is_lost_or_refuses_whatever_the_version() {
        let mut taken = (0, 0);
        for hooks in [Hooks::Btf, Hooks::Light] {
            let settings = Settings { hooks, ..Settings::default() };
            for program in PROGRAMS.iter().filter(|program| program.form.goes_with(hooks)) {
                let Some(feature) = feature_of(program) else { continue };
                let of_kernel = feature.trim_start_matches("btf_trace_").trim_start_matches("bpf_iter_");
                let name = program.name;
                let needed_by = |other: &&ProgramEntry| feature_of(other).as_ref() == Some(&feature);
                let is_required = PROGRAMS.iter().filter(needed_by).any(|other| other.required);
                match plan(&kernel(|name| name != feature), &settings, Load::default()) {
                    Ok(planned) => {
                        let [missing] = planned.missing.as_slice() else {
                            panic!("{name}: {:?}", planned.missing)
                        };
                        assert_eq!((missing.program.as_str(), program.required), (name, false));
                        assert!(missing.reason.contains(&format!(" {of_kernel} (")), "{missing:?}");
                        assert_eq!(missing.consequence, program.consequence);
                        taken.0 += 1;
                    }
                    Err(error) => {
                        let said = error.to_string();
                        assert!(is_required && said.contains(of_kernel), "{name}: {said}");
                        taken.1 += 1;
                    }
                }
            }
        }
        assert!(taken.0 >= 8 && taken.1 >= 12, "{taken:?}");
    }

    #[test]
    fn user_without_privileges_is_told_which() {
        let mut capabilities = kernel(|_| true);
        capabilities.effective = 0;
        let error = plan(&capabilities, &Settings::default(), Load::default()).unwrap_err();
        assert!(error.to_string().contains("CAP_BPF and CAP_PERFMON"), "{error}");
    }

    #[test]
    fn shared_host_gets_tracepoints_of_single_calls() {
        let load = Load { cpu_count: 16, target_percent: 5, others_percent: 60 };
        let plan = plan(&kernel(|_| true), &Settings::default(), load).unwrap();
        assert_eq!(plan.hooks, Hooks::Tracepoints);
        assert!(
            plan.programs.iter().all(|program| program.name != "sys_enter" && program.name != "sys_exit")
        );
        assert!(plan.hooks_reason.contains("60 %"), "{}", plan.hooks_reason);
    }

    #[test]
    fn light_mode_hooks_no_system_call_and_needs_its_tracepoints() {
        let light = Settings { hooks: Hooks::Light, ..Settings::default() };
        let names: Vec<_> = plan(&kernel(|_| true), &light, Load::default())
            .unwrap()
            .programs
            .iter()
            .map(|program| program.name)
            .collect();
        assert!(["light_sent", "light_received", "sched_switch"].iter().all(|name| names.contains(name)));
        assert!(
            !["sys_enter", "enter_call", "unix_find_other"].iter().any(|name| names.contains(name)),
            "{names:?}"
        );
        let old = kernel(|name| name != "btf_trace_sock_recv_length");
        let error = plan(&old, &light, Load::default()).unwrap_err().to_string();
        assert!(error.contains("sock_recv_length") && error.contains("6.3"), "{error}");
    }

    #[test]
    fn light_mode_without_sight_of_accepts_is_refused_where_all_of_it_is_wanted() {
        let light = Settings { hooks: Hooks::Light, ..Settings::default() };
        let whole = Settings { all_of_light: true, ..light };
        assert!(plan(&kernel(|_| true), &whole, Load::default()).is_ok());
        for function in PROGRAMS.iter().filter(|program| Attached::OF_ACCEPTS.contains(&program.name)) {
            let AttachPoint::Return(name) = function.place else { panic!("{function:?}") };
            let lacking = kernel(|feature| feature != name);
            let error = plan(&lacking, &whole, Load::default()).unwrap_err();
            assert!(error.is_of_light() && error.to_string().contains(name), "{error}");
            assert_eq!(plan(&lacking, &light, Load::default()).unwrap().missing.len(), 1);
            let full = Settings { all_of_light: true, ..Settings::default() };
            assert!(plan(&lacking, &full, Load::default()).is_ok(), "everything is traced there");
        }
    }

    #[test]
    fn target_that_has_the_host_to_itself_gets_the_two_typed_hooks() {
        for load in [
            Load { cpu_count: 16, target_percent: 40, others_percent: 50 },
            Load { cpu_count: 16, target_percent: 0, others_percent: 10 },
            Load { cpu_count: 2, target_percent: 0, others_percent: 90 },
        ] {
            assert_eq!(
                plan(&kernel(|_| true), &Settings::default(), load).unwrap().hooks,
                Hooks::Btf,
                "{load:?}"
            );
        }
    }

    #[test]
    fn tracepoints_that_cannot_be_had_are_refused_if_asked_for_and_replaced_if_not() {
        let mut capabilities = kernel(|_| true);
        capabilities.no_call_tracepoints = Some("no tracefs".to_owned());
        let asked = Settings { hooks: Hooks::Tracepoints, ..Settings::default() };
        let error = plan(&capabilities, &asked, Load::default()).unwrap_err();
        assert!(error.to_string().contains("no tracefs"), "{error}");
        let load = Load { cpu_count: 16, target_percent: 5, others_percent: 60 };
        assert_eq!(plan(&capabilities, &Settings::default(), load).unwrap().hooks, Hooks::Btf);
    }

    #[test]
    fn kernel_that_keeps_its_memory_to_itself_is_refused_and_one_that_keeps_it_whole_is_not() {
        let mut capabilities = kernel(|_| true);
        capabilities.lockdown = Some("integrity".to_owned());
        assert!(plan(&capabilities, &Settings::default(), Load::default()).is_ok());
        capabilities.lockdown = Some("confidentiality".to_owned());
        for hooks in [Hooks::Btf, Hooks::Tracepoints, Hooks::Light] {
            let settings = Settings { hooks, ..Settings::default() };
            let error = plan(&capabilities, &settings, Load::default()).unwrap_err().to_string();
            assert!(
                error.contains("lockdown=confidentiality") && error.contains("lockdown=integrity"),
                "{error}"
            );
        }
    }

    #[test]
    fn container_with_process_numbers_of_its_own_is_refused() {
        let mut capabilities = kernel(|_| true);
        capabilities.nested_pid_namespace = true;
        let error = plan(&capabilities, &Settings::default(), Load::default()).unwrap_err();
        assert!(error.to_string().contains("--pid=host"), "{error}");
    }
}
