//! `tool`, `host`, `target` and `window`: who watched what, where, for how long.
//!
//! In: session, attach report, server, cgroups, window. Out: serialisable views of them.

use profiler_core::fact::{self, CgroupMemory, EndReason, MissingProgram};
use profiler_core::model::{self, CgroupWindow, Snapshot};

use super::queue::Network;
use super::{non_empty, rounded};

view! {
    pub(super) struct Tool<'a>(snapshot: &'a Snapshot) with {
        let attached = &snapshot.attached;
    } {
        /// Always wsgi-trace.
        #[cfg_attr(test, schemars(extend("const" = "wsgi-trace")))]
        name: &'static str = "wsgi-trace",
        /// Version of wsgi-trace that took the measurement.
        version: &'a str = &snapshot.session.tool_version,
        /// How system calls are hooked: btf, tracepoints, or not at all: light.
        hooks: &'a str = &attached.hooks,
        /// Why these hooks were chosen.
        hooks_reason: &'a str = &attached.hooks_reason,
        /// Kernel programs attached.
        programs: &'a [String] = &attached.programs,
        /// Kernel programs that could not be attached.
        missing: Vec<Missing<'a>> = attached.missing.iter().map(Missing::new).collect(),
        /// The arrival of data at the socket is seen: requests start at their first byte.
        has_arrivals: bool = attached.arrival_measured,
        /// Other wsgi-trace processes that watched the same server.
        other_profilers: u32 = attached.other_profilers,
        /// Time from the first attach to the last, in ns.
        attach_ns: u64 = attached.attach_ns,
        /// What was left out to take no more than --max-cost, in this window or before it.
        left_out: Vec<LeftOut> = snapshot.coverage.left_out.iter().map(LeftOut::new).collect(),
    }
}

view! {
    struct LeftOut(left_out: &fact::left_out::LeftOut) {
        /// What.
        #[cfg_attr(test, schemars(extend("examples" = ["lines", "system_calls", "everything"])))]
        what: &'static str = left_out.what.name(),
        /// Since when, CLOCK_MONOTONIC, in ns.
        start_ns: u64 = left_out.from_ns,
        /// Until when, CLOCK_MONOTONIC, in ns; null: it is left out still.
        end_ns: Option<u64> = left_out.to_ns,
        /// What watching took before, by all CPUs of the machine; null: not known.
        cost_ratio: Option<f64> = rounded(left_out.cost_ratio),
        /// What it may take.
        max_cost_ratio: Option<f64> = rounded(left_out.max_ratio),
    }
}

view! {
    struct Missing<'a>(program: &'a MissingProgram) {
        /// Its name.
        program: &'a str = &program.program,
        /// Why it could not be attached.
        reason: &'a str = &program.reason,
        /// What the report cannot tell without it.
        consequence: &'a str = &program.consequence,
    }
}

view! {
    pub(super) struct Host<'a>(snapshot: &'a Snapshot) with {
        let session = &snapshot.session;
    } {
        /// Name of the host.
        name: &'a str = &session.host_name,
        /// Kernel release, as uname -r.
        kernel_release: &'a str = &session.kernel_release,
        /// CPUs online.
        cpu_count: u32 = session.cpu_count,
        /// Since boot, almost no CPU time was stolen or spent in accounted interrupts (below 0.5 %). What was
        /// left out of the kernel's count in this window is in losses.conservation.
        is_cpu_time_comparable: bool = session.cpu_time_comparable,
    }
}

view! {
    pub(super) struct Target<'a>(snapshot: &'a Snapshot) {
        /// Process that the user named.
        pid: u32 = snapshot.session.target_pid,
        /// The server as recognised.
        server: Server<'a> = Server::new(&snapshot.server),
        /// The container that the server runs in, by the path of its cgroup; null: none that is known.
        container: Option<Container<'a>> = snapshot.container.as_ref().map(Container::new),
        /// CPU quotas of the target's cgroups over the window.
        cgroups: Vec<Cgroup<'a>> = snapshot.cgroups.iter().map(Cgroup::new).collect(),
        /// Limit of memory of the target's cgroup; null: it could not be read.
        memory: Option<Memory<'a>> = snapshot.memory.as_ref().map(Memory::new),
        /// What the target does that cannot be seen from outside, one sentence each.
        blind_spots: &'a [String] = &snapshot.coverage.blind_spots,
        /// What the network namespaces of the target counted of all their listeners in the window, other
        /// servers' included.
        networks: Vec<Network> = snapshot.sockets.networks.iter().map(Network::new).collect(),
    }
}

view! {
    struct Server<'a>(server: &'a model::Server) {
        /// Its name, or unknown.
        name: &'a str = non_empty(&server.name).unwrap_or("unknown"),
        /// Its version, where known.
        version: Option<&'a str> = server.version.as_deref(),
        /// Kind of worker (sync, gthread), or unknown.
        worker_class: &'a str = non_empty(&server.worker_class).unwrap_or("unknown"),
        /// Version of Python, where known.
        python_version: Option<&'a str> = server.python_version.as_deref(),
        /// Settings that matter to the report.
        settings: Vec<Setting<'a>> = server.settings.iter().map(Setting::new).collect(),
    }
}

view! {
    struct Setting<'a>(setting: &'a model::Setting) {
        /// As the server names it.
        name: &'a str = &setting.name,
        /// Its value, as text.
        value: &'a str = &setting.value,
        /// From the command line or environment, the documented default, or behaviour seen.
        #[cfg_attr(test, schemars(extend("examples" = ["configured", "default", "inferred"])))]
        origin: &'static str = setting.origin.name(),
    }
}

view! {
    struct Cgroup<'a>(cgroup: &'a CgroupWindow) {
        /// Its path.
        path: &'a str = &cgroup.last.cgroup,
        /// CPU quota per period in ns; null: no limit.
        quota_ns: Option<u64> = cgroup.last.quota_us.map(|quota_us| quota_us.saturating_mul(NS_PER_US)),
        /// Length of a period in ns.
        period_ns: u64 = cgroup.last.period_us.saturating_mul(NS_PER_US),
        /// Periods of the window in which it was throttled.
        throttled_periods: u64 = cgroup.last.throttled_periods.saturating_sub(cgroup.first.throttled_periods),
        /// Time throttled in the window in ns, summed over CPUs.
        throttled_ns: u64 = cgroup.last.throttled_ns.saturating_sub(cgroup.first.throttled_ns),
    }
}

view! {
    struct Container<'a>(container: &'a fact::container::Container) {
        /// Its id, 64 hexadecimal digits (container.id).
        id: &'a str = &container.id,
        /// What made it: podman, docker, containerd or cri-o (container.runtime.name); null: the path does
        /// not tell.
        runtime: Option<&'a str> = container.runtime.as_deref(),
        /// Its name in the pod (k8s.container.name), by the node's log files; null: not known.
        k8s_container_name: Option<&'a str> = container.k8s_container_name.as_deref(),
        /// Name of the pod (k8s.pod.name), by the node's log files; null: not known.
        k8s_pod_name: Option<&'a str> = container.k8s_pod_name.as_deref(),
        /// Namespace of the pod (k8s.namespace.name); null: not known.
        k8s_namespace_name: Option<&'a str> = container.k8s_namespace_name.as_deref(),
        /// UID of the pod (k8s.pod.uid), by the path of its cgroup; null: no pod.
        k8s_pod_uid: Option<&'a str> = container.k8s_pod_uid.as_deref(),
    }
}

view! {
    struct Memory<'a>(memory: &'a CgroupMemory) {
        /// Path of the cgroup whose limit binds.
        path: &'a str = &memory.cgroup,
        /// Limit in bytes; null: no limit.
        limit_bytes: Option<u64> = memory.limit_bytes,
        /// In use at the end of the window, with cached files; null: not known.
        used_bytes: Option<u64> = memory.used_bytes,
    }
}

const NS_PER_US: u64 = 1_000;

view! {
    pub(super) struct Window(snapshot: &Snapshot) with {
        let window = snapshot.window;
        let start_ns = i64::try_from(window.start_ns).unwrap_or(i64::MAX);
    } {
        /// Start, CLOCK_MONOTONIC, in ns.
        start_ns: u64 = window.start_ns,
        /// End, CLOCK_MONOTONIC, in ns.
        end_ns: u64 = window.end_ns,
        /// Length in ns.
        length_ns: u64 = window.length_ns(),
        /// Start as nanoseconds since 1970-01-01 UTC.
        wall_clock_start_ns: i64 = start_ns.saturating_add(snapshot.session.wall_clock_offset_ns),
        /// Why the window ended; null: the recording was cut off.
        #[cfg_attr(test, schemars(with = "Option<String>"))]
        #[cfg_attr(test, schemars(extend("examples" = [
            "duration", "interrupted", "target_exited", "recording_failed", "cost", "next_window", "still_open"
        ])))]
        end_reason: Option<EndReason> = window.end_reason,
    }
}
