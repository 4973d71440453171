//! What stands outside the server of an incident: who answers, holds, stops or freezes.
//!
//! In: an incident. Out: [`Outside`], there as long as the value lives, and the marks by which a report may
//! tell what was waited for.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use wsgi_trace_test_support::backend::Backend;
use wsgi_trace_test_support::freezer::Freezer;
use wsgi_trace_test_support::named::Mark;
use wsgi_trace_test_support::notes::Outsider;
use wsgi_trace_test_support::peer::{Peer, Stuck};
use wsgi_trace_test_support::server::Server;
use wsgi_trace_test_support::stalled_disk::StalledDisk;

use crate::decoy::Decoy;
use crate::incident::Incident;
use crate::leaf::Leaf;

/// What is read from a disk again and again.
const DISK_BYTES: usize = 32 * 1024 * 1024;
/// Waits that are shorter are not looked at.
const SEEN_MS: u32 = 80;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    outsider: Option<Outsider>,
    back_end: Option<BackEnd>,
    disk: Option<StalledDisk>,
    freezer: Option<Freezer>,
    neighbour: Option<Outsider>,
}

#[derive(Debug)]
enum BackEnd {
    Answers(Backend),
    Stuck(Peer),
}

impl Outside {
    /// What must be there before the server; `directory` is for files.
    pub(crate) fn before(incident: &Incident, directory: &Path, notes: &Path) -> anyhow::Result<Self> {
        let name = &incident.name;
        let back_end = match incident.leaf {
            Leaf::BackEndUnreached => Some(BackEnd::Stuck(Peer::start(Stuck::Unreached)?)),
            Leaf::BackEndDead => Some(BackEnd::Stuck(Peer::start(Stuck::Dead)?)),
            Leaf::BackEndFull => Some(BackEnd::Stuck(Peer::start(Stuck::Full)?)),
            Leaf::BackEndUnix => Some(BackEnd::Answers(Backend::start_at(&directory.join(name))?)),
            leaf if leaf.is_back_end() || leaf == Leaf::NameServer => {
                Some(BackEnd::Answers(Backend::start()?))
            }
            _ => None,
        };
        let mut outside = Self { back_end, ..Self::default() };
        if incident.leaf.is_stalled() {
            outside.disk = Some(StalledDisk::new(directory, &[name]).context("skipped: no disk to stall")?);
        }
        if incident.leaf == Leaf::Frozen {
            outside.freezer = Some(Freezer::new().context("skipped: nothing to freeze in")?);
        }
        if incident.leaf == Leaf::Disk {
            let mut file = std::fs::File::create(directory.join(name))?;
            file.write_all(&vec![1; DISK_BYTES])?;
            file.sync_all()?;
        }
        if !incident.leaf.is_at_the_server() {
            outside.start(incident, &directory.join(name), &[], notes)?;
        }
        if incident.decoy == Decoy::Neighbour {
            let arguments = ["compute", "all the time"].map(str::to_owned);
            outside.neighbour = Some(Outsider::start(&arguments, notes)?);
        }
        Ok(outside)
    }

    /// What does something to the server, once that is watched.
    pub(crate) fn after(&mut self, incident: &Incident, server: &Server, notes: &Path) -> anyhow::Result<()> {
        if !incident.leaf.is_at_the_server() {
            return Ok(());
        }
        let workers = server.worker_pids();
        let pids = if workers.is_empty() { vec![server.pid()] } else { workers };
        if let Some(freezer) = &self.freezer {
            pids.iter().try_for_each(|pid| freezer.take(*pid))?;
        }
        let what = match (incident.leaf, &self.freezer) {
            (_, Some(freezer)) => freezer.path().to_owned(),
            (leaf, _) if leaf.stops() => PathBuf::new(),
            _ => PathBuf::from(server.address().to_string()),
        };
        self.start(incident, &what, &pids, notes)
    }

    fn start(&mut self, incident: &Incident, what: &Path, pids: &[u32], notes: &Path) -> anyhow::Result<()> {
        let what = match (&self.disk, incident.leaf) {
            (Some(disk), Leaf::DiskStalled) => disk.below(),
            (Some(disk), _) => disk.above(),
            (None, Leaf::BackEndStopped) => PathBuf::from(self.back_end_pid().to_string()),
            (None, Leaf::Stopped | Leaf::Traced) => {
                PathBuf::from(pids.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
            }
            (None, _) => what.to_owned(),
        };
        let arguments = incident.outsider(what.to_str().context("no path")?);
        self.outsider = arguments.map(|arguments| Outsider::start(&arguments, notes)).transpose()?;
        Ok(())
    }

    /// Nobody holds or stops anything any more.
    pub(crate) fn leave(&mut self) {
        self.outsider = None;
    }

    /// Of the back end that is the leaf.
    pub(crate) fn address(&self) -> &str {
        match &self.back_end {
            Some(BackEnd::Answers(back_end)) => &back_end.address,
            Some(BackEnd::Stuck(peer)) => &peer.address,
            None => "",
        }
    }

    fn back_end_pid(&self) -> u32 {
        match &self.back_end {
            Some(BackEnd::Answers(back_end)) => back_end.pid(),
            Some(BackEnd::Stuck(peer)) => peer.pid(),
            None => 0,
        }
    }

    /// What a report ought to say of the leaf's object.
    pub(crate) fn marks(&self, incident: &Incident) -> Vec<Mark> {
        let path = || Mark::new("path", &[&incident.name]);
        let outsider = || Mark::process(self.outsider.as_ref().map_or(0, Outsider::pid));
        let back_end = || Mark::process(self.back_end_pid());
        let is_short = incident.leaf.lasts() && incident.leaf_ms < SEEN_MS;
        match incident.leaf {
            _ if is_short => Vec::new(),
            Leaf::BackEndSlow | Leaf::BackEndHung | Leaf::BackEndComputes => vec![back_end()],
            Leaf::BackEndUnix => vec![path(), back_end()],
            Leaf::BackEndStopped => vec![back_end(), Mark::new("state of it", &["stopped", "T"])],
            Leaf::BackEndUnreached => {
                vec![Mark::new("state", &["connecting", "not connected", "not_connected"])]
            }
            Leaf::BackEndDead => vec![back_end(), Mark::new("state", &["retransmitting"])],
            Leaf::BackEndFull => {
                vec![back_end(), Mark::new("state", &["window_zero", "window zero", "zero window"])]
            }
            Leaf::Stream => vec![Mark::new("endpoint", &["stream"])],
            Leaf::Upgraded => vec![Mark::new("connection", &["upgrade", "upgraded", "101"])],
            Leaf::Fifo | Leaf::DiskStalled | Leaf::PathStalled | Leaf::MappingStalled => vec![path()],
            // Who answers datagrams nobody can tell by the socket that waits.
            Leaf::NameServer => Vec::new(),
            Leaf::Collecting => vec![Mark::new("collector", &["is_collecting: true", "garbage"])],
            Leaf::FileLock | Leaf::Sqlite | Leaf::FullPipe => vec![path(), outsider()],
            Leaf::Child => vec![Mark::new("program", &["sleep"])],
            Leaf::ChattyChild => vec![Mark::new("program", &["head"])],
            Leaf::Stopped => vec![Mark::new("how", &["stopped"]), outsider()],
            Leaf::Traced => vec![Mark::new("how", &["traced"]), outsider()],
            Leaf::Frozen => vec![Mark::new("how", &["frozen"])],
            Leaf::Cycle => vec![Mark::new("grade", &["cycle"])],
            Leaf::Sleep
            | Leaf::SlowClient
            | Leaf::Disk
            | Leaf::Computing
            | Leaf::Hashing
            | Leaf::Sorting
            | Leaf::SleepWithGil
            | Leaf::PolledFile
            | Leaf::PolledLock
            | Leaf::OwnServer
            | Leaf::Nobody
            | Leaf::Forgotten
            | Leaf::Nothing => Vec::new(),
        }
    }
}
