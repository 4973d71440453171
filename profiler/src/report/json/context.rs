//! `tool`, `host`, `target` and `window`: who watched what, where, for how long.
//!
//! In: session, attach report, server, cgroups, window. Out: serialisable views of them.

use profiler_core::fact::{self, CgroupMemory, EndReason, MissingProgram};
use profiler_core::model::{self, CgroupWindow, Snapshot};

use super::non_empty;
use super::queue::Network;

view! {
    pub(super) struct Tool<'a>(snapshot: &'a Snapshot) with {
        let attached = &snapshot.attached;
    } {
        name: &'static str = "wsgi-trace",
        version: &'a str = &snapshot.session.tool_version,
        hooks: &'a str = &attached.hooks,
        hooks_reason: &'a str = &attached.hooks_reason,
        programs: &'a [String] = &attached.programs,
        missing: Vec<Missing<'a>> = attached.missing.iter().map(Missing::new).collect(),
        has_arrivals: bool = attached.arrival_measured,
        other_profilers: u32 = attached.other_profilers,
        attach_ns: u64 = attached.attach_ns,
    }
}

view! {
    struct Missing<'a>(program: &'a MissingProgram) {
        program: &'a str = &program.program,
        reason: &'a str = &program.reason,
        consequence: &'a str = &program.consequence,
    }
}

view! {
    pub(super) struct Host<'a>(snapshot: &'a Snapshot) with {
        let session = &snapshot.session;
    } {
        name: &'a str = &session.host_name,
        kernel_release: &'a str = &session.kernel_release,
        cpu_count: u32 = session.cpu_count,
        is_cpu_time_comparable: bool = session.cpu_time_comparable,
    }
}

view! {
    pub(super) struct Target<'a>(snapshot: &'a Snapshot) {
        pid: u32 = snapshot.session.target_pid,
        server: Server<'a> = Server::new(&snapshot.server),
        container: Option<Container<'a>> = snapshot.container.as_ref().map(Container::new),
        cgroups: Vec<Cgroup<'a>> = snapshot.cgroups.iter().map(Cgroup::new).collect(),
        memory: Option<Memory<'a>> = snapshot.memory.as_ref().map(Memory::new),
        blind_spots: &'a [String] = &snapshot.coverage.blind_spots,
        networks: Vec<Network> = snapshot.sockets.networks.iter().map(Network::new).collect(),
    }
}

view! {
    struct Server<'a>(server: &'a model::Server) {
        name: &'a str = non_empty(&server.name).unwrap_or("unknown"),
        version: Option<&'a str> = server.version.as_deref(),
        worker_class: &'a str = non_empty(&server.worker_class).unwrap_or("unknown"),
        python_version: Option<&'a str> = server.python_version.as_deref(),
        settings: Vec<Setting<'a>> = server.settings.iter().map(Setting::new).collect(),
    }
}

view! {
    struct Setting<'a>(setting: &'a model::Setting) {
        name: &'a str = &setting.name,
        value: &'a str = &setting.value,
        origin: &'static str = setting.origin.name(),
    }
}

view! {
    struct Cgroup<'a>(cgroup: &'a CgroupWindow) {
        path: &'a str = &cgroup.last.cgroup,
        quota_ns: Option<u64> = cgroup.last.quota_us.map(|quota_us| quota_us.saturating_mul(NS_PER_US)),
        period_ns: u64 = cgroup.last.period_us.saturating_mul(NS_PER_US),
        throttled_periods: u64 = cgroup.last.throttled_periods.saturating_sub(cgroup.first.throttled_periods),
        throttled_ns: u64 = cgroup.last.throttled_ns.saturating_sub(cgroup.first.throttled_ns),
    }
}

view! {
    struct Container<'a>(container: &'a fact::container::Container) {
        id: &'a str = &container.id,
        runtime: Option<&'a str> = container.runtime.as_deref(),
        k8s_container_name: Option<&'a str> = container.k8s_container_name.as_deref(),
        k8s_pod_name: Option<&'a str> = container.k8s_pod_name.as_deref(),
        k8s_namespace_name: Option<&'a str> = container.k8s_namespace_name.as_deref(),
        k8s_pod_uid: Option<&'a str> = container.k8s_pod_uid.as_deref(),
    }
}

view! {
    struct Memory<'a>(memory: &'a CgroupMemory) {
        path: &'a str = &memory.cgroup,
        limit_bytes: Option<u64> = memory.limit_bytes,
        used_bytes: Option<u64> = memory.used_bytes,
    }
}

const NS_PER_US: u64 = 1_000;

view! {
    pub(super) struct Window(snapshot: &Snapshot) with {
        let window = snapshot.window;
        let start_ns = i64::try_from(window.start_ns).unwrap_or(i64::MAX);
    } {
        start_ns: u64 = window.start_ns,
        end_ns: u64 = window.end_ns,
        length_ns: u64 = window.length_ns(),
        wall_clock_start_ns: i64 = start_ns.saturating_add(snapshot.session.wall_clock_offset_ns),
        end_reason: Option<EndReason> = window.end_reason,
    }
}
