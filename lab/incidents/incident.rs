//! An incident: a leaf behind hops behind a server, with its load, all from a seed.
//!
//! In: a seed. Out: [`Incident`], the same for the same seed, on every machine.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::decoy::Decoy;
use crate::draw::{pick, word};
use crate::leaf::{LEAVES, Leaf};
use crate::meeting::{Meeting, When, Who};
use crate::path::{Hop, drawn_path};
use crate::prevented::Room;
use crate::server::{SERVERS, ServerKind, Setup};
use crate::truth::HOPS;

/// Requests of one incident at most.
const MOST_REQUESTS: u32 = 3000;
/// How long clients ask, in seconds.
pub(crate) const SECONDS: u32 = 6;
/// The request after which a lock is not released any more.
const FORGOTTEN_AFTER: u32 = 25;
/// How long a thread has one of two locks before it takes the other, in ms.
const CYCLE_MS: u32 = 20;
/// How long a back end takes that is stopped at times, in ms.
const STOPPED_MS: u32 = 10;

/// Requests after which the only worker ends.
const EXIT_AFTER: u32 = 15;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Incident {
    pub(crate) seed: u64,
    pub(crate) server: Setup,
    pub(crate) leaf: Leaf,
    /// From the outside to the inside.
    pub(crate) hops: Vec<Hop>,
    pub(crate) meeting: Meeting,
    pub(crate) decoy: Decoy,
    /// First segment of the path that meets the leaf.
    pub(crate) route: String,
    /// The same of the decoy's.
    pub(crate) other_route: String,
    /// Each so-manieth request meets it.
    pub(crate) every: u32,
    /// How long the leaf takes, or is held by somebody else at a time, in ms.
    pub(crate) leaf_ms: u32,
    /// How long it is free in between, or how often it is looked after, in ms.
    pub(crate) pause_ms: u32,
    pub(crate) base_back_end_ms: u32,
    pub(crate) base_cpu_ms: u32,
    /// Options of `clients/load.py`.
    pub(crate) clients: Vec<String>,
    /// The load in words.
    pub(crate) load: String,
    /// Name of what is in the file system.
    pub(crate) name: String,
}

impl Incident {
    /// That of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let leaf = pick(&mut rng, Leaf::Sleep, LEAVES);
        let fitting: Vec<ServerKind> = SERVERS.iter().copied().filter(|kind| leaf.fits(*kind)).collect();
        let kind = pick(&mut rng, ServerKind::GunicornGthread, &fitting);
        let server = Setup::new(&mut rng, kind);
        let server = if leaf == Leaf::Nobody { server.of_one_process() } else { server };
        let has_path = leaf.has_path() && !kind.takes_turns();
        let mut hops = if has_path { drawn_path(&mut rng, kind) } else { Vec::new() };
        hops.retain(|hop| !kind.has_no_files() || hop.file().is_none());
        let meeting = if has_path { Meeting::drawn(&mut rng, leaf, kind, &mut hops) } else { Meeting::PLAIN };
        Self::of(seed, &mut rng, (leaf, hops, meeting), server)
    }

    fn of(seed: u64, rng: &mut Rng, (leaf, hops, meeting): (Leaf, Vec<Hop>, Meeting), server: Setup) -> Self {
        let base_back_end_ms = pick(rng, 0, &[0, 20]);
        let base_cpu_ms = rng.u32(0..=5);
        let base_back_end_ms = match leaf {
            Leaf::Nothing => 20,
            // Whose answer is there waits for the GIL, and its witness does not know.
            Leaf::SleepWithGil => 0,
            _ if server.kind.takes_turns() && !leaf.yields() => 0,
            _ => base_back_end_ms,
        };
        let every = match leaf {
            _ if leaf.hangs() && meeting.when == When::SinceBefore => 3,
            _ if meeting != Meeting::PLAIN => 1,
            _ if leaf.hangs() => 7,
            _ if leaf.lasts() => pick(rng, 1, &[1, 3]),
            _ => 1,
        };
        let (leaf_ms, pause_ms) = leaf.times(rng);
        let asks_itself = hops.iter().any(Hop::is_itself);
        // Who asks itself must have room for that in whichever process it is served.
        let most = match leaf {
            _ if asks_itself => (server.threads - 1).min(3),
            // Where more ask than are served at once they wait for one another.
            Leaf::Nothing => server.slots().min(6),
            _ => 6,
        };
        let clients = rng.u32(most.min(2)..=most);
        let clients = if leaf == Leaf::OwnServer { server.slots() + 2 } else { clients };
        let (mut options, load) = drawn_load(rng, clients, &server);
        let (route, other_route, name) = (word(rng), word(rng), word(rng));
        let decoy = Decoy::drawn(rng, leaf, server.kind);
        options.extend(decoy.options(&route, &other_route));
        if leaf == Leaf::SlowClient {
            options.extend(["--slow-readers=2".to_owned(), "--slow-read-seconds=2".to_owned()]);
        }
        let leaf_ms = if leaf.lasts() { meeting.leaf_ms(leaf_ms * every.min(3), &hops) } else { leaf_ms };
        Self {
            seed,
            server,
            leaf,
            hops,
            meeting,
            decoy,
            route,
            other_route,
            every,
            leaf_ms,
            pause_ms,
            base_back_end_ms,
            base_cpu_ms,
            clients: options,
            load,
            name,
        }
    }

    /// The application's plan, as `tests/apps/composed.py` takes it.
    pub(crate) fn plan(&self, leaf_back_end: &str, directory: &str) -> String {
        let above = if self.leaf.is_stalled() { "/above" } else { "" };
        let path = format!("{directory}{above}/{}", self.name);
        let milliseconds = self.leaf_ms;
        let leaf = match self.leaf {
            Leaf::BackEndSlow | Leaf::BackEndUnix => json!(["back_end", leaf_back_end, milliseconds]),
            Leaf::BackEndComputes => json!(["back_end", leaf_back_end, milliseconds, "*"]),
            Leaf::BackEndStopped => json!(["back_end", leaf_back_end, STOPPED_MS]),
            Leaf::BackEndHung | Leaf::BackEndDead => json!(["back_end", leaf_back_end, 60_000]),
            Leaf::BackEndUnreached => json!(["connect", leaf_back_end]),
            Leaf::BackEndFull => json!(["upload", leaf_back_end]),
            Leaf::Sleep => json!(["sleep", milliseconds]),
            Leaf::Fifo => json!(["fifo", path]),
            Leaf::Disk => json!(["disk", path, milliseconds]),
            Leaf::DiskStalled => json!(["sync", path]),
            Leaf::PathStalled => json!(["touch", path]),
            Leaf::MappingStalled => json!(["write_mapping", path]),
            Leaf::NameServer => json!(["resolve", leaf_back_end, milliseconds]),
            Leaf::FileLock => json!(["file_lock", path]),
            Leaf::Sqlite => json!(["sqlite", path]),
            Leaf::Child => json!(["child", milliseconds]),
            Leaf::ChattyChild => json!(["chatty_child"]),
            Leaf::Computing => json!(["compute", milliseconds]),
            Leaf::Hashing => json!(["hash", milliseconds]),
            Leaf::Sorting => json!(["sort", milliseconds]),
            Leaf::Collecting => json!(["collect", milliseconds]),
            Leaf::SleepWithGil => json!(["sleep_with_lock", milliseconds]),
            Leaf::PolledFile => json!(["poll_file", path]),
            Leaf::PolledLock => json!(["poll_lock", path]),
            Leaf::OwnServer => json!(["own_server", milliseconds]),
            Leaf::FullPipe => json!(["full_pipe", path]),
            Leaf::Forgotten => json!(["forgotten", FORGOTTEN_AFTER]),
            Leaf::Cycle => json!(["cycle", FORGOTTEN_AFTER, CYCLE_MS]),
            Leaf::SlowClient
            | Leaf::Stream
            | Leaf::Upgraded
            | Leaf::Stopped
            | Leaf::Traced
            | Leaf::Frozen
            | Leaf::Nobody
            | Leaf::Nothing => Value::Null,
        };
        let hops: Vec<Value> = self.hops.iter().map(|hop| hop.plan(directory)).collect();
        let all = [("hops", json!(hops)), ("leaf", leaf), ("every", json!(self.every))];
        let mut route: Map<String, Value> =
            all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.meeting.plan(&self.hops, &mut route);
        let base = json!({"back_end_ms": self.base_back_end_ms, "cpu_ms": self.base_cpu_ms});
        let mut plan = Map::from_iter([
            ("routes".to_owned(), json!({self.route.as_str(): route})),
            ("base".to_owned(), base),
        ]);
        if self.leaf == Leaf::Nobody {
            plan.extend([
                ("exit_after".to_owned(), json!(EXIT_AFTER)),
                ("begin_ms".to_owned(), json!(self.leaf_ms)),
            ]);
        }
        self.decoy.plan((self.leaf, self.leaf_ms), &self.other_route, &mut plan);
        Value::Object(plan).to_string()
    }

    /// What `tests/apps/outsider.py` does to `what`; `None`: nobody is needed.
    pub(crate) fn outsider(&self, what: &str) -> Option<Vec<String>> {
        let (held, pause) = (self.leaf_ms.to_string(), self.pause_ms.to_string());
        let slots = self.server.slots().to_string();
        let all =
            |kind: &str, rest: &[&str]| Some([kind].iter().chain(rest).map(|&one| one.to_owned()).collect());
        match self.leaf {
            Leaf::PolledFile => all("keep", &[what, &held, &pause]),
            Leaf::FileLock | Leaf::PolledLock => all("lock", &[what, &held, &pause]),
            Leaf::Sqlite => all("database", &[what, &held, &pause]),
            Leaf::Fifo => all("open", &[what, &pause]),
            Leaf::FullPipe => all("drain", &[what, &pause]),
            Leaf::Stopped | Leaf::BackEndStopped => all("stop", &[what, &held, &pause]),
            Leaf::Traced => all("trace", &[what, &held, &pause]),
            Leaf::Frozen => all("freeze", &[what, &held, &pause]),
            Leaf::DiskStalled | Leaf::PathStalled | Leaf::MappingStalled => {
                all("stall", &[what, &held, &pause])
            }
            Leaf::Stream => all("ask_endless", &[&format!("{what}/stream"), &held, &pause, &slots]),
            Leaf::Upgraded => all("ask_endless", &[&format!("{what}/upgrade"), &held, &pause, &slots]),
            _ => None,
        }
    }

    /// Options of each program of clients.
    pub(crate) fn programs(&self) -> Vec<Vec<String>> {
        let seconds = format!("--seconds={}", SECONDS + self.seconds_before());
        let all = [Some(self.clients.clone()), self.decoy.further(&self.route)].into_iter().flatten();
        all.map(|options| [options, vec![seconds.clone()]].concat()).collect()
    }

    /// The same with nothing for a leaf: it must be healthy.
    pub(crate) fn healthy(&self) -> Self {
        Self { leaf: Leaf::Nothing, ..self.clone() }
    }

    /// What is served at once; `None`: the replay does not know such a server, or such a leaf.
    pub(crate) fn room(&self) -> Option<Room> {
        let is_known = self.meeting.who != Who::Main
            && !(self.leaf.computes() || self.leaf.stops() || self.leaf.is_unwitnessed())
            && !matches!(self.leaf, Leaf::SleepWithGil | Leaf::Forgotten)
            && self.leaf.has_path()
            // Of what does not end nothing can be replayed.
            && !self.leaf.hangs()
            && !self.hops.iter().any(Hop::is_itself)
            && self.server.kind.has_slots();
        let has_shared_queue = self.server.has_shared_queue();
        let slots = if has_shared_queue { self.server.slots() } else { self.server.threads };
        let (mut hops, mut shared_hops) = ([None; HOPS], [false; HOPS]);
        for ((room, is_shared), hop) in hops.iter_mut().zip(&mut shared_hops).zip(&self.hops) {
            *room = (hop.is_exclusive() || *hop == Hop::Import).then_some(hop.count() as usize);
            *is_shared = hop.file().is_some();
        }
        is_known.then_some(Room { slots: slots as usize, has_shared_queue, hops, shared_hops })
    }

    /// For how many seconds clients ask before anybody watches.
    pub(crate) fn seconds_before(&self) -> u32 {
        if self.meeting.when == When::SinceBefore { 2 } else { 0 }
    }

    /// Whether only one request at a time gets on where it waits.
    pub(crate) fn is_serial(&self) -> bool {
        self.meeting.who != Who::Request || self.hops.iter().any(Hop::is_serial) || self.leaf.is_serial()
    }

    /// In words.
    pub(crate) fn about(&self) -> String {
        let path: Vec<String> = self.hops.iter().map(Hop::to_string).collect();
        let path = if path.is_empty() { "no hop".to_owned() } else { path.join(" → ") };
        let every = if self.every > 1 { format!(" (one in {})", self.every) } else { String::new() };
        format!(
            "{}; {path} → {} {} ms{every}{}; base {} ms back end, {} ms CPU; {}{}",
            self.server.title(),
            self.leaf.name(),
            self.leaf_ms.max(self.pause_ms),
            self.meeting,
            self.base_back_end_ms,
            self.base_cpu_ms,
            self.load,
            self.decoy.about()
        )
    }
}

fn drawn_load(rng: &mut Rng, clients: u32, server: &Setup) -> (Vec<String>, String) {
    let mut options = vec![
        format!("--clients={clients}"),
        format!("--requests={MOST_REQUESTS}"),
        // Longer than anybody looks.
        "--timeout=20".to_owned(),
        format!("--seed={}", rng.u32(1..100_000)),
    ];
    let kept = pick(rng, 1, &[1, 5]);
    let kept = if server.closes() { 1 } else { kept };
    options.push(format!("--keep-alive={kept}"));
    let pace = if rng.bool() {
        let think = pick(rng, 5, &[20, 60]);
        options.push(format!("--think-ms={think}"));
        format!("{think} ms between two")
    } else {
        let every = pick(rng, 80, &[150]);
        options.push(format!("--every-ms={every}"));
        format!("one each {every} ms")
    };
    let count = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
    (options, format!("{count}, {pace}, {kept} a connection"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> impl Iterator<Item = Incident> {
        (1..=600).map(Incident::new)
    }

    #[test]
    fn a_seed_gives_the_same_incident_and_different_seeds_different_ones() {
        for incident in all() {
            let again = Incident::new(incident.seed);
            assert_eq!(incident.about(), again.about());
            assert_eq!((&incident.clients, incident.plan("a", "b")), (&again.clients, again.plan("a", "b")));
        }
        let different: BTreeSet<String> = all().map(|one| one.about()).collect();
        assert!(different.len() > 550, "{}", different.len());
    }

    #[test]
    fn every_leaf_server_and_length_of_path_is_drawn() {
        let leaves: BTreeSet<&str> = all().map(|one| one.leaf.name()).collect();
        assert_eq!(leaves.len(), LEAVES.len());
        let servers: BTreeSet<String> = all().map(|one| format!("{:?}", one.server.kind)).collect();
        assert_eq!(servers.len(), SERVERS.len());
        let lengths: BTreeSet<usize> = all().map(|one| one.hops.len()).collect();
        assert_eq!(lengths, BTreeSet::from([0, 1, 2, 3]));
    }

    #[test]
    fn who_asks_itself_has_a_slot_for_that() {
        let mut some = 0;
        for incident in all().filter(|one| one.hops.iter().any(Hop::is_itself)) {
            let clients = incident.clients.iter().find_map(|option| option.strip_prefix("--clients="));
            let clients: u32 = clients.unwrap().parse().unwrap();
            assert!(clients < incident.server.threads, "{}", incident.about());
            assert!(incident.hops.iter().filter(|hop| hop.is_itself()).count() == 1);
            some += 1;
        }
        assert!(some > 20, "{some}");
    }
}
