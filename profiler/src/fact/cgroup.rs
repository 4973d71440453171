//! CPU quota, throttling and limit of memory of a process's cgroup.
//!
//! In: `/proc/PID/cgroup`, `/proc/self/mountinfo`, the cgroup file system (v1 controllers `cpu` and `memory`,
//! v2). Out: [`CgroupCpu`], [`CgroupMemory`]. A limit on a parent group binds as well: the tightest one on
//! the way up is reported. From another container (a sidecar) the process's group is outside of what our own
//! mounts show: then it is read where the process itself has it mounted, below `/proc/PID/root`.

use std::path::{Component, Path, PathBuf};

use profiler_core::fact::{CgroupCpu, CgroupMemory, Fact};

use super::{FactError, Proc, read};

/// Length of a period where the files do not say: the kernel's default.
const DEFAULT_PERIOD_US: u64 = 100_000;
/// Levels looked at on the way up.
const MAX_DEPTH: usize = 64;

/// From here on a limit of memory is none: v1 says it as the largest number of pages.
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// Which hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// One for each controller; `cpu.cfs_quota_us`, times in ns.
    V1,
    /// `cpu.max`, times in µs.
    V2,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    Cpu,
    Memory,
}

impl Controller {
    const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// Reads one cgroup's limit again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupReader {
    cgroup: String,
    directory: PathBuf,
    version: Version,
}

/// The readers of the groups that bind a process, where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupReaders {
    cpu: Option<CgroupReader>,
    memory: Option<CgroupReader>,
}

impl CgroupReaders {
    /// For the groups that bind a process.
    pub fn for_process(proc: &Proc, tgid: u32) -> Self {
        let of = |controller| CgroupReader::for_process(proc, tgid, controller);
        Self { cpu: of(Controller::Cpu), memory: of(Controller::Memory) }
    }

    /// What they say now; nothing of a group that is gone.
    pub fn read(&self) -> impl Iterator<Item = Fact> {
        let cpu = self.cpu.as_ref().and_then(|group| group.cpu().ok()).map(Fact::CgroupCpu);
        let memory = self.memory.as_ref().and_then(|group| group.memory().ok()).map(Fact::CgroupMemory);
        cpu.into_iter().chain(memory)
    }
}

/// Path of the cgroup that limits a process's CPU: the v1 `cpu` controller's where it is used, else v2's.
pub fn of_process(proc: &Proc, tgid: u32) -> Option<String> {
    membership(proc, tgid, Controller::Cpu).map(|(_, path)| path)
}

/// Paths of a process's cgroup in every hierarchy.
pub fn all_of_process(proc: &Proc, tgid: u32) -> Vec<String> {
    let text = read::text(&proc.of(tgid, "cgroup"), 64 * 1024).unwrap_or_default();
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned).collect()
}

fn membership(proc: &Proc, tgid: u32, wanted: Controller) -> Option<(Version, String)> {
    let text = read::text(&proc.of(tgid, "cgroup"), 64 * 1024).ok()?;
    let mut unified = None;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if controllers.split(',').any(|controller| controller == wanted.name()) {
            return Some((Version::V1, path.to_owned()));
        }
        if controllers.is_empty() {
            unified = Some((Version::V2, path.to_owned()));
        }
    }
    unified
}

/// Where the hierarchy is mounted by this `mountinfo`: mount point, and the cgroup that stands there, as seen
/// from our own.
fn mount(mountinfo: &Path, version: Version, controller: Controller) -> Option<(PathBuf, String)> {
    let text = read::text(mountinfo, 4 * 1024 * 1024).ok()?;
    text.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let fits = match version {
            Version::V1 => kind == "cgroup" && options.split(',').any(|option| option == controller.name()),
            Version::V2 => kind == "cgroup2",
        };
        fits.then(|| (PathBuf::from(point), root.to_owned()))
    })
}

impl CgroupReader {
    /// For the group that binds a process: the tightest limit from its own group up; its own group where
    /// there is none.
    fn for_process(proc: &Proc, tgid: u32, controller: Controller) -> Option<Self> {
        let (version, cgroup) = membership(proc, tgid, controller)?;
        let ours = mount(&proc.path("self/mountinfo"), version, controller)
            .and_then(|(point, root)| Self::within(version, controller, &cgroup, &point, &root))
            .filter(|reader| reader.is_there(controller));
        ours.or_else(|| {
            let (point, root) = mount(&proc.of(tgid, "mountinfo"), version, controller)?;
            let point = proc.of(tgid, "root").join(point.strip_prefix("/").ok()?);
            Self::within(version, controller, &cgroup, &point, &root)
        })
    }

    fn is_there(&self, controller: Controller) -> bool {
        match controller {
            Controller::Cpu => self.cpu().is_ok(),
            Controller::Memory => self.memory().is_ok(),
        }
    }

    /// The limit now, as a number to compare with that of other groups; `None`: there is none.
    fn limit(&self, controller: Controller) -> Option<f64> {
        match controller {
            Controller::Cpu => {
                let read = self.cpu().ok()?;
                Some(as_float(read.quota_us?) / as_float(read.period_us.max(1)))
            }
            Controller::Memory => self.memory().ok()?.limit_bytes.map(as_float),
        }
    }

    /// The group that binds `cgroup`, of those that a mount shows at whose `point` the group `root` stands.
    fn within(
        version: Version,
        controller: Controller,
        cgroup: &str,
        point: &Path,
        root: &str,
    ) -> Option<Self> {
        // What does not begin with the root, or has `..` in the rest, lies outside what this mount shows.
        let shown = Path::new(cgroup).strip_prefix(root).ok()?;
        if shown.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        let own = Self::at(version, point, root, shown);
        let mut tightest: Option<(f64, Self)> = None;
        let mut path = Some(shown);
        for _ in 0..MAX_DEPTH {
            let Some(level) = path else { break };
            let reader = Self::at(version, point, root, level);
            if let Some(limit) = reader.limit(controller)
                && tightest.as_ref().is_none_or(|(least, _)| limit < *least)
            {
                tightest = Some((limit, reader));
            }
            path = level.parent();
        }
        Some(tightest.map_or(own, |(_, reader)| reader))
    }

    /// The group `shown` below `root`, which stands at `point`.
    fn at(version: Version, point: &Path, root: &str, shown: &Path) -> Self {
        let own = Path::new(root);
        let cgroup = if shown.as_os_str().is_empty() { own.to_owned() } else { own.join(shown) };
        Self { cgroup: cgroup.to_string_lossy().into_owned(), directory: point.join(shown), version }
    }

    /// Quota and throttling now.
    ///
    /// # Errors
    /// When the group is gone.
    fn cpu(&self) -> Result<CgroupCpu, FactError> {
        let file = |name: &str| self.file(name);
        let mut result =
            CgroupCpu { cgroup: self.cgroup.clone(), period_us: DEFAULT_PERIOD_US, ..CgroupCpu::default() };
        match self.version {
            Version::V2 => {
                // The topmost group has no limit and no such file.
                let limit = file("cpu.max").unwrap_or_default();
                let mut words = limit.split_whitespace();
                result.quota_us = words.next().and_then(|quota| quota.parse().ok());
                result.period_us =
                    words.next().and_then(|period| period.parse().ok()).unwrap_or(DEFAULT_PERIOD_US);
            }
            Version::V1 => {
                let number = |name: &str| file(name).ok()?.trim().parse::<i64>().ok();
                result.quota_us = number("cpu.cfs_quota_us").and_then(|quota| u64::try_from(quota).ok());
                result.period_us = number("cpu.cfs_period_us")
                    .and_then(|period| u64::try_from(period).ok())
                    .unwrap_or(DEFAULT_PERIOD_US);
            }
        }
        for line in file("cpu.stat")?.lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            let Ok(value) = value.trim().parse::<u64>() else { continue };
            match name {
                "nr_throttled" => result.throttled_periods = value,
                "throttled_usec" => result.throttled_ns = value.saturating_mul(1000),
                "throttled_time" => result.throttled_ns = value,
                _ => {}
            }
        }
        Ok(result)
    }

    /// Limit of memory and what is in use now.
    ///
    /// # Errors
    /// When the group is gone.
    fn memory(&self) -> Result<CgroupMemory, FactError> {
        let (limit, used) = match self.version {
            // The topmost group has neither file.
            Version::V2 => ("memory.max", "memory.current"),
            Version::V1 => ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        };
        let limit = self.file(limit)?.trim().parse::<u64>().ok().filter(|bytes| *bytes < NO_LIMIT_BYTES);
        let used_bytes = self.file(used).ok().and_then(|used| used.trim().parse().ok());
        Ok(CgroupMemory { cgroup: self.cgroup.clone(), limit_bytes: limit, used_bytes })
    }

    fn file(&self, name: &str) -> Result<String, FactError> {
        let path = self.directory.join(name);
        read::text(&path, 64 * 1024).map_err(|source| FactError::Unreadable { path, source })
    }
}

#[expect(clippy::cast_precision_loss, reason = "limits are only compared with one another")]
const fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Host {
        directory: tempfile::TempDir,
    }

    impl Host {
        fn new(membership: &str, mount: &str) -> Self {
            let directory = tempfile::tempdir().expect("directory");
            for name in ["proc/7", "proc/self", "cgroup/pod/container"] {
                fs::create_dir_all(directory.path().join(name)).expect("directory");
            }
            fs::write(directory.path().join("proc/7/cgroup"), membership).expect("membership");
            let point = directory.path().join("cgroup");
            let line = format!("30 20 0:26 / {} rw - {mount}\n", point.display());
            fs::write(directory.path().join("proc/self/mountinfo"), line).expect("mountinfo");
            Self { directory }
        }

        fn file(&self, name: &str, text: &str) {
            fs::write(self.directory.path().join("cgroup").join(name), text).expect("file");
        }

        fn read(&self) -> Option<CgroupCpu> {
            let proc = Proc::at(self.directory.path().join("proc"));
            CgroupReader::for_process(&proc, 7, Controller::Cpu).and_then(|reader| reader.cpu().ok())
        }

        fn read_memory(&self) -> Option<CgroupMemory> {
            let proc = Proc::at(self.directory.path().join("proc"));
            CgroupReader::for_process(&proc, 7, Controller::Memory).and_then(|reader| reader.memory().ok())
        }
    }

    #[test]
    fn the_quota_of_a_v2_group_and_its_throttling_are_read() {
        let host = Host::new("0::/pod/container\n", "cgroup2 cgroup2 rw");
        host.file("pod/container/cpu.max", "50000 100000\n");
        host.file(
            "pod/container/cpu.stat",
            "usage_usec 9\nnr_periods 10\nnr_throttled 3\nthrottled_usec 250\n",
        );
        host.file("pod/cpu.max", "max 100000\n");
        host.file("pod/cpu.stat", "");
        let expected = CgroupCpu {
            cgroup: "/pod/container".into(),
            quota_us: Some(50_000),
            period_us: 100_000,
            throttled_periods: 3,
            throttled_ns: 250_000,
        };
        assert_eq!(host.read(), Some(expected));
    }

    #[test]
    fn a_tighter_quota_of_a_parent_group_is_the_one_that_counts() {
        let host = Host::new("0::/pod/container\n", "cgroup2 cgroup2 rw");
        host.file("pod/container/cpu.max", "200000 100000\n");
        host.file("pod/container/cpu.stat", "nr_throttled 0\n");
        host.file("pod/cpu.max", "50000 50000\n");
        host.file("pod/cpu.stat", "nr_throttled 8\nthrottled_usec 1\n");
        let found = host.read().expect("group");
        assert_eq!(
            (found.cgroup.as_str(), found.quota_us, found.throttled_periods),
            ("/pod", Some(50_000), 8)
        );
    }

    #[test]
    fn the_v1_controller_is_preferred_where_it_is_used() {
        let host = Host::new("4:cpu,cpuacct:/pod\n0::/other\n", "cgroup cgroup rw,cpu,cpuacct");
        host.file("pod/cpu.cfs_quota_us", "25000\n");
        host.file("pod/cpu.cfs_period_us", "100000\n");
        host.file("pod/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 123456789\n");
        let found = host.read().expect("group");
        assert_eq!(
            (found.quota_us, found.throttled_periods, found.throttled_ns),
            (Some(25_000), 2, 123_456_789)
        );
    }

    #[test]
    fn a_group_that_only_the_process_itself_has_mounted_is_read_through_its_root() {
        for (membership, kind) in
            [("0::/../server\n", "cgroup2 cgroup2 rw"), ("4:cpu:/../server\n", "cgroup cgroup rw,cpu")]
        {
            // Our own mount shows our own group.
            let host = Host::new(membership, kind);
            let proc = host.directory.path().join("proc/7");
            fs::write(
                proc.join("mountinfo"),
                format!("9 8 0:26 /../server /sys/fs/cgroup ro shared:1 - {kind}\n"),
            )
            .expect("mountinfo");
            let group = proc.join("root/sys/fs/cgroup");
            fs::create_dir_all(&group).expect("directory");
            fs::write(group.join("cpu.max"), "50000 100000\n").expect("limit");
            fs::write(group.join("cpu.cfs_quota_us"), "50000\n").expect("limit");
            fs::write(group.join("cpu.stat"), "nr_throttled 3\n").expect("statistics");
            let found = host.read().expect("group");
            assert_eq!((found.quota_us, found.throttled_periods), (Some(50_000), 3), "{kind}");
            assert_eq!(found.cgroup, "/../server");
        }
    }

    #[test]
    fn our_own_container_s_quota_is_never_taken_for_the_server_s() {
        for server in ["/docker/def", "/docker/abcdef"] {
            let kind = "cgroup cgroup rw,cpu";
            let host = Host::new(&format!("4:cpu:{server}\n"), kind);
            let ours = format!(
                "30 20 0:26 /docker/abc {} rw - {kind}\n",
                host.directory.path().join("cgroup").display()
            );
            fs::write(host.directory.path().join("proc/self/mountinfo"), ours).expect("mountinfo");
            host.file("cpu.cfs_quota_us", "25000\n");
            host.file("cpu.stat", "nr_throttled 9\n");
            assert_eq!(host.read(), None, "{server}");
        }
    }

    #[test]
    fn the_tightest_limit_of_memory_counts_in_both_versions_of_cgroups() {
        for (membership, kind, limit, used, none) in [
            ("0::/pod/container\n", "cgroup2 cgroup2 rw", "memory.max", "memory.current", "max"),
            (
                "4:memory:/pod/container\n3:cpu:/elsewhere\n",
                "cgroup cgroup rw,memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "9223372036854771712",
            ),
        ] {
            let host = Host::new(membership, kind);
            host.file(&format!("pod/container/{limit}"), &format!("{none}\n"));
            host.file(&format!("pod/container/{used}"), "1000\n");
            let unlimited = host.read_memory().expect("group");
            assert_eq!((unlimited.limit_bytes, unlimited.used_bytes), (None, Some(1_000)), "{kind}");
            host.file(&format!("pod/{limit}"), "268435456\n");
            host.file(&format!("pod/{used}"), "2000\n");
            let limited = host.read_memory().expect("group");
            let expected = ("/pod", Some(268_435_456), Some(2_000));
            assert_eq!(
                (limited.cgroup.as_str(), limited.limit_bytes, limited.used_bytes),
                expected,
                "{kind}"
            );
        }
        assert_eq!(Host::new("0::/gone\n", "cgroup2 cgroup2 rw").read_memory(), None);
    }

    #[test]
    fn no_quota_is_no_quota_and_a_vanished_group_is_none() {
        let host = Host::new("4:cpu:/pod\n", "cgroup cgroup rw,cpu");
        host.file("pod/cpu.cfs_quota_us", "-1\n");
        host.file("pod/cpu.stat", "nr_throttled 0\n");
        assert_eq!(host.read().expect("group").quota_us, None);
        assert_eq!(Host::new("0::/../elsewhere\n", "cgroup2 cgroup2 rw").read(), None);
        assert_eq!(Host::new("0::/gone\n", "cgroup2 cgroup2 rw").read(), None);
        assert_eq!(Host::new("", "cgroup2 cgroup2 rw").read(), None);
    }
}
