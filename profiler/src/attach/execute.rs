//! Carries an attach plan out: loads the object, attaches the hooks, then runs the iterators until nothing is
//! new.
//!
//! In: the processes to trace, settings. Out: a [`LiveSource`], which detaches when it is dropped, and the
//! attach report.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Instant;

use aya::maps::Queue;
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::trace_point::TracePointError;
use aya::programs::{BtfTracePoint, FEntry, FExit, Iter, PerfEvent, Program, ProgramError, TracePoint};
use aya::util::online_cpus;
use aya::{Btf, Ebpf, EbpfLoader, Endianness};
use profiler_common::limits::MAX_THREADS;
use profiler_common::stack::TICKS_PER_SECOND;
use profiler_common::system_call;
use profiler_core::fact::{Attached, MissingProgram};

use super::error::short;
use super::plan::{Load, Plan, Settings, plan};
use super::{AttachError, load, offsets, preemption};
use crate::capability::kernel_btf::KernelBtf;
use crate::capability::{Capabilities, KERNEL_BTF};
use crate::hook::table::{AttachPoint, ProgramEntry};
use crate::hook::{Hooks, OBJECT, tracefs};
use crate::source::live::{LiveError, LiveSource, Size, Targets};

/// Rounds of the iterators after which we stop looking: a target that forks faster than that is followed by
/// the fork hook anyway.
const MAX_ROUNDS: u32 = 8;

/// Attaches to the processes that `find` names. It is asked again once the hooks are on, until it names
/// nobody new, so that a process forked meanwhile is not missed.
///
/// # Errors
/// If this process may not, this kernel cannot, or there is nobody to trace. Then nothing stays attached.
pub fn attach(
    settings: &Settings,
    find: &mut dyn FnMut() -> Vec<u32>,
) -> Result<(LiveSource, Attached), AttachError> {
    let privileges = Capabilities::probe(None).missing_privileges();
    if !privileges.is_empty() {
        return Err(AttachError::Privileges { missing: privileges });
    }
    let kernel_btf = KernelBtf::load(Path::new(KERNEL_BTF))?;
    // The library builds every type to find a dozen: meanwhile there is enough to do.
    let (parsed, prepared) = std::thread::scope(|scope| {
        let parsing = scope.spawn(|| Btf::parse(kernel_btf.bytes(), Endianness::default()));
        let prepared = prepare(settings, &kernel_btf, find);
        (parsing.join(), prepared)
    });
    let Prepared { plan, globals, targets, other_profilers } = prepared?;
    let btf = match parsed {
        Ok(parsed) => parsed.map_err(aya::EbpfError::BtfError)?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let object = preemption::put_into(OBJECT, &kernel_btf);
    let mut ebpf = load_object(settings, &object, &btf, &globals)?;
    fill_free_indexes(&mut ebpf, settings.max_threads.unwrap_or(MAX_THREADS))?;
    let mut followed = Targets::of(&mut ebpf)?;
    followed.add(&targets)?;

    let started = Instant::now();
    let mut report = Attached {
        hooks: match plan.hooks {
            Hooks::Tracepoints => "tracepoints",
            Hooks::Light => Attached::LIGHT,
            Hooks::Btf | Hooks::Auto => "btf",
        }
        .to_owned(),
        hooks_reason: match cfg!(feature = "empty-programs") {
            true => format!("{}; built without bodies, so nothing is measured", plan.hooks_reason),
            false => plan.hooks_reason.clone(),
        },
        missing: plan.missing.clone(),
        other_profilers,
        ..Attached::default()
    };
    attach_programs(&mut ebpf, (&plan, settings.all_of_light), &btf, &mut report)?;
    let mut source = LiveSource::new(ebpf, followed)?;
    let mut known = 0;
    for _ in 0..MAX_ROUNDS {
        source.rescan(&find())?;
        let now_known = source.followed_threads();
        if now_known == known {
            break;
        }
        known = now_known;
    }
    let is_attached = |name: &str| report.programs.iter().any(|program| program == name);
    report.delays_measured = is_attached("tcp_conn_request") && is_attached("tcp_v4_syn_recv_sock");
    report.arrival_measured = report.programs.iter().any(|program| program == "sk_data_ready");
    report.attach_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok((source, report))
}

/// Attaches to this very process for a moment, and detaches again: what each program would do here is seen,
/// not inferred.
///
/// # Errors
/// As [`attach`].
pub fn try_out(settings: &Settings) -> Result<Attached, AttachError> {
    let (source, report) = attach(settings, &mut || vec![std::process::id()])?;
    drop(source);
    Ok(report)
}

/// What is known before anything is loaded.
struct Prepared {
    plan: Plan,
    globals: Vec<(&'static str, u32)>,
    targets: Vec<u32>,
    other_profilers: u32,
}

fn prepare(
    settings: &Settings,
    kernel_btf: &KernelBtf,
    find: &mut dyn FnMut() -> Vec<u32>,
) -> Result<Prepared, AttachError> {
    let capabilities = Capabilities::probe(Some(kernel_btf));
    let mut globals = offsets::resolve(kernel_btf)?;
    let has_arrivals = capabilities.tracepoints.contains(&"sk_data_ready");
    globals.push(("ANNOUNCED_BY_STATE", u32::from(!has_arrivals)));
    let targets = find();
    let plan = plan(&capabilities, settings, load_of_machine(settings, &targets))?;
    globals.push(("LIGHT", u32::from(plan.hooks == Hooks::Light)));
    globals.push(("NAMES_PROGRAMS", u32::from(settings.looks == crate::fact::asleep::Looks::All)));
    globals.push(("STACKS", u32::from(settings.gil.stacks)));
    if targets.is_empty() {
        return Err(AttachError::NoTarget);
    }
    let other_profilers = Targets::others(&targets);
    Ok(Prepared { plan, globals, targets, other_profilers })
}

/// Sampled only where the answer can matter.
fn load_of_machine(settings: &Settings, targets: &[u32]) -> Load {
    let small = Load { cpu_count: load::cpu_count(), target_percent: 0, others_percent: 100 };
    if settings.hooks == Hooks::Auto && small.is_shared() { load::sample(targets) } else { Load::default() }
}

fn load_object(
    settings: &Settings,
    object: &[u8],
    btf: &Btf,
    globals: &[(&'static str, u32)],
) -> Result<Ebpf, AttachError> {
    let mut loader = EbpfLoader::new();
    loader.btf(btf);
    // Task storage is a map type that aya has no user-space type for; only the programs use it.
    loader.allow_unsupported_maps();
    for (name, value) in globals {
        loader.override_global(name, value, true);
    }
    let rings = Size::new(aya::util::nr_cpus().map_or(1, NonZeroU32::get), settings.ring_bytes);
    let ring_globals = rings.globals();
    rings.apply(&ring_globals, &mut loader);
    if let Some(threads) = settings.max_threads {
        loader.map_max_entries("ACCOUNTS", threads).map_max_entries("FREE_INDEXES", threads);
    }
    Ok(loader.load(object)?)
}

fn fill_free_indexes(ebpf: &mut Ebpf, threads: u32) -> Result<(), LiveError> {
    let failed = |reason: String| LiveError::Map { map: "FREE_INDEXES", reason };
    let map = ebpf.map_mut("FREE_INDEXES").ok_or_else(|| failed("not in the object".to_owned()))?;
    let mut queue: Queue<_, u32> = Queue::try_from(map).map_err(|error| failed(error.to_string()))?;
    for index in 1..=threads {
        queue.push(&index, 0).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

fn attach_programs(
    ebpf: &mut Ebpf,
    (plan, all_of_light): (&Plan, bool),
    btf: &Btf,
    report: &mut Attached,
) -> Result<(), AttachError> {
    let mut loaded = load_programs(ebpf, plan, btf);
    if all_of_light {
        for name in Attached::OF_ACCEPTS {
            if let Some(Err(reason)) = loaded.get(name) {
                return Err(AttachError::NotAllOfLight { reason: short(reason) });
            }
        }
    }
    for entry in &plan.programs {
        let outcome = match loaded.remove(entry.name) {
            Some(Ok(())) => attach_one(ebpf, entry),
            Some(Err(reason)) => Err(reason),
            None => Err("not in the object".to_owned()),
        };
        match outcome {
            Ok(()) => report.programs.push(entry.name.to_owned()),
            Err(reason) if all_of_light && Attached::OF_ACCEPTS.contains(&entry.name) => {
                return Err(AttachError::NotAllOfLight { reason: short(&reason) });
            }
            Err(reason) if entry.required => {
                return Err(AttachError::refused(entry.name, reason));
            }
            Err(reason) => report.missing.push(MissingProgram {
                program: entry.name.to_owned(),
                reason: short(&reason),
                consequence: entry.consequence.to_owned(),
            }),
        }
    }
    Ok(())
}

/// Programs whose verification takes as long as that of all others together: the kernel does both at once.
const LONG: [&str; 2] = ["sys_exit", "exit_call"];

/// Hands the plan's programs to the kernel; what became of each, by name.
fn load_programs(ebpf: &mut Ebpf, plan: &Plan, btf: &Btf) -> BTreeMap<&'static str, Result<(), String>> {
    let entry_of = |name: &str| plan.programs.iter().copied().find(|entry| entry.name == name);
    let programs = ebpf.programs_mut().filter_map(|(name, program)| Some((entry_of(name)?, program)));
    let (long, short): (Vec<_>, Vec<_>) = programs.partition(|(entry, _)| LONG.contains(&entry.name));
    let load = |programs: Vec<(&'static ProgramEntry, &mut Program)>| -> Vec<_> {
        let mut forbidden: Option<String> = None;
        let load = |(entry, program): (&'static ProgramEntry, &mut Program)| {
            // Asked once: each refusal takes as long as loading would.
            if let (AttachPoint::Function(_) | AttachPoint::Return(_), Some(reason)) =
                (entry.place, &forbidden)
            {
                return (entry.name, Err(reason.clone()));
            }
            let outcome = load_one(program, entry, btf).map_err(|refused| {
                if refused.forbids_functions {
                    forbidden = Some(refused.reason.clone());
                }
                refused.reason
            });
            (entry.name, outcome)
        };
        programs.into_iter().map(load).collect()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| load(long));
        let mut outcomes: BTreeMap<_, _> = load(short).into_iter().collect();
        match other.join() {
            Ok(long) => outcomes.extend(long),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        outcomes
    })
}

/// Why a program was not loaded.
struct Refused {
    reason: String,
    /// This machine lets no function of its kernel be hooked, whichever it is.
    forbids_functions: bool,
}

impl Refused {
    const fn program(reason: String) -> Self {
        Self { reason, forbids_functions: false }
    }

    /// The refusal of a function's hook. Who may hook functions at all is decided before the verifier looks
    /// at which.
    fn function(error: ProgramError) -> Self {
        let forbids_functions = match &error {
            ProgramError::LoadError { io_error, verifier_log } => {
                io_error.kind() == ErrorKind::PermissionDenied && verifier_log.to_string().is_empty()
            }
            _ => false,
        };
        Self { reason: not_hooked(error), forbids_functions }
    }
}

fn load_one(program: &mut Program, entry: &ProgramEntry, btf: &Btf) -> Result<(), Refused> {
    let text = |error: ProgramError| Refused::program(error.to_string());
    match entry.place {
        AttachPoint::Tracepoint(name) => {
            let program: &mut BtfTracePoint = program.try_into().map_err(text)?;
            program.load(name, btf).map_err(text)
        }
        AttachPoint::Function(name) => {
            let program: &mut FEntry = program.try_into().map_err(text)?;
            program.load(name, btf).map_err(Refused::function)
        }
        AttachPoint::Return(name) => {
            let program: &mut FExit = program.try_into().map_err(text)?;
            program.load(name, btf).map_err(Refused::function)
        }
        // Never part of a plan; see `LiveSource::probe`.
        AttachPoint::Process => Err(Refused::program("no place of its own".to_owned())),
        AttachPoint::Iterator(name) => {
            let program: &mut Iter = program.try_into().map_err(text)?;
            program.load(name, btf).map_err(text)
        }
        AttachPoint::SystemCalls(_) => {
            let program: &mut TracePoint = program.try_into().map_err(text)?;
            program.load().map_err(text)
        }
        AttachPoint::Clock => {
            let program: &mut PerfEvent = program.try_into().map_err(text)?;
            program.load().map_err(text)
        }
    }
}

fn attach_one(ebpf: &mut Ebpf, entry: &ProgramEntry) -> Result<(), String> {
    let program = ebpf.program_mut(entry.name).ok_or("not in the object")?;
    let text = |error: ProgramError| error.to_string();
    match entry.place {
        AttachPoint::Tracepoint(_) => {
            let program: &mut BtfTracePoint = program.try_into().map_err(text)?;
            program.attach().map_err(text)?;
        }
        AttachPoint::Function(_) => {
            let program: &mut FEntry = program.try_into().map_err(text)?;
            program.attach().map_err(not_hooked)?;
        }
        AttachPoint::Return(_) => {
            let program: &mut FExit = program.try_into().map_err(text)?;
            program.attach().map_err(not_hooked)?;
        }
        // Never part of a plan; see `LiveSource::probe`.
        AttachPoint::Process => return Err("no place of its own".to_owned()),
        // Attached for a moment each time it is run.
        AttachPoint::Iterator(_) => {}
        AttachPoint::SystemCalls(prefix) => {
            let program: &mut TracePoint = program.try_into().map_err(text)?;
            tracefs::with_tracefs(|| attach_to_calls(program, prefix))??;
        }
        AttachPoint::Clock => {
            let program: &mut PerfEvent = program.try_into().map_err(text)?;
            attach_to_cpus(program)?;
        }
    }
    Ok(())
}

/// Why a function is not hooked; the verifier says nothing where it is the machine that forbids it.
fn not_hooked(error: ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } if verifier_log.to_string().is_empty() => {
            format!("this machine does not let functions of its kernel be hooked ({io_error})")
        }
        error => error.to_string(),
    }
}

/// Attaches to every observed call that this kernel has a tracepoint for; old calls may be configured out.
fn attach_to_calls(program: &mut TracePoint, prefix: &str) -> Result<(), String> {
    let mut attached = 0;
    for number in system_call::OBSERVED {
        let tracepoint = format!("{prefix}{}", call_tracepoint(*number));
        match program.attach("syscalls", &tracepoint) {
            Ok(_) => attached += 1,
            Err(ProgramError::TracePointError(TracePointError::FileError { .. })) => {}
            Err(error) => return Err(format!("{tracepoint}: {error}")),
        }
    }
    if attached == 0 { Err("this kernel has no tracepoints of system calls".to_owned()) } else { Ok(()) }
}

/// Opens a clock on each CPU that is online. A clock of each thread would be dearer: the kernel sets it at
/// every switch.
fn attach_to_cpus(program: &mut PerfEvent) -> Result<(), String> {
    let cpus = online_cpus().map_err(|(what, error)| format!("{what}: {error}"))?;
    for cpu in cpus {
        let scope = PerfEventScope::AllProcessesOneCpu { cpu };
        let policy = SamplePolicy::Frequency(TICKS_PER_SECOND);
        program
            .attach(PerfEventConfig::Software(SoftwareEvent::CpuClock), scope, policy, false)
            .map_err(|error| format!("CPU {cpu}: {error}"))?;
    }
    Ok(())
}

/// The kernel's name of a call's tracepoints where it differs from the call's (they are named after the
/// function).
fn call_tracepoint(number: u32) -> &'static str {
    match number {
        system_call::SENDFILE => "sendfile64",
        _ => system_call::name(number),
    }
}
