//! Workers that come and go within a window, each with what its requests took: so a deploy parts the requests
//! before it from those after it.
//!
//! In: births and ends of processes, finished requests. Out: [`Life`], one for each process that served or
//! was there to serve.

use rustc_hash::FxHashMap;

use crate::bounded::{BoundedMap, push_if_room};
use crate::event::{Change, Lifecycle, Tid};
use crate::machine::product::by_process::MAX_COUNTED;
use crate::model::Process;
use crate::model::life::Life;
use crate::model::request::Request;

/// The lives of processes within the window.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    of: BoundedMap<Tid, Life, MAX_COUNTED>,
    /// Lives of processes whose number another process has now.
    past: Vec<Life>,
    /// Past lives that found no place.
    past_evicted: u64,
}

impl Lives {
    /// A process is born, or ends.
    pub fn change(&mut self, lifecycle: &Lifecycle, time_ns: u64) {
        match lifecycle.change {
            Change::Fork { child_tgid, child_tid, .. } if child_tgid == child_tid => {
                if let Some(past) = self.of.remove(&child_tgid) {
                    self.keep(past);
                }
                if self.of.len() >= MAX_COUNTED {
                    // Children that came and went, and served nothing.
                    let is_told =
                        |life: &Life| life.requests > 0 || life.born_ns.is_none() || life.ended_ns.is_none();
                    self.of.retain(|_, life| is_told(life));
                }
                if let Some(life) = self.get(child_tgid) {
                    life.born_ns = Some(time_ns);
                }
            }
            Change::Exit { .. } if lifecycle.tid == lifecycle.tgid => {
                if let Some(life) = self.get(lifecycle.tgid) {
                    life.ended_ns = Some(time_ns);
                }
            }
            _ => {}
        }
    }

    /// A request is completed.
    pub fn add(&mut self, request: &Request) {
        if let Some(life) = self.get(request.tgid) {
            life.requests = life.requests.saturating_add(1);
            life.errors = life.errors.saturating_add(u64::from((500..600).contains(&request.http.status)));
            if !request.seen.truncated {
                life.total.record(request.total_ns());
            }
        }
    }

    fn get(&mut self, tgid: Tid) -> Option<&mut Life> {
        self.of.get_or_insert_with(tgid, || Life { tgid, ..Life::default() })
    }

    /// Lives that found no place.
    pub const fn evicted(&self) -> u64 {
        self.of.evicted() + self.past_evicted
    }

    /// Keeps one that served.
    fn keep(&mut self, past: Life) {
        if past.requests > 0 {
            push_if_room(&mut self.past, MAX_COUNTED, past, &mut self.past_evicted);
        }
    }

    /// The next window begins: who lives now was there as it began.
    pub fn roll(&mut self) {
        *self = Self::default();
    }

    /// The lives of those who served, and of the workers among these processes, in the order of their
    /// numbers, in the window that begins at `start_ns`.
    pub fn finish(mut self, processes: &[Process], start_ns: u64) -> Vec<Life> {
        let roles: FxHashMap<Tid, &str> =
            processes.iter().map(|process| (process.tgid, process.role.as_str())).collect();
        let role = |tgid: Tid| roles.get(&tgid).copied().unwrap_or_default();
        // One that ended has a life by its end, unless that was before the window: the parents of living ones
        // are remembered.
        let is_there = |process: &&Process| process.role == "worker" && process.exit_code.is_none();
        for process in processes.iter().filter(is_there) {
            self.get(process.tgid);
        }
        let mut all: Vec<Life> = self.of.into_map().into_values().chain(self.past).collect();
        all.retain(|life| match role(life.tgid) {
            "front_end" => false,
            "worker" => life.ended_ns.is_none_or(|ended_ns| ended_ns > start_ns),
            _ => life.requests > 0,
        });
        for life in &mut all {
            life.born_ns = life.born_ns.filter(|born_ns| *born_ns > start_ns);
        }
        all.sort_by_key(|life| (life.tgid, life.born_ns));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::request::{Active, Beginning};

    /// When the window begins.
    const START_NS: u64 = 30;

    fn fork(tgid: Tid) -> Lifecycle {
        let change = Change::Fork { child_tgid: tgid, child_tid: tgid, child_number: 0 };
        Lifecycle { tgid: 1, tid: 1, change, comm: String::new() }
    }

    fn exit(tgid: Tid, tid: Tid) -> Lifecycle {
        Lifecycle { tgid, tid, change: Change::Exit { code: 0 }, comm: String::new() }
    }

    fn request(tgid: Tid, status: u16) -> Request {
        let mut request = Active::new(&Beginning::at(1, 100), tgid, tgid).request;
        (request.http.status, request.times.end_ns) = (status, 2_000_100);
        *request
    }

    fn process(tgid: Tid, role: &str) -> Process {
        Process { tgid, role: role.to_owned(), ..Process::default() }
    }

    /// Process, birth, end, requests, and those of them that were answered with an error.
    type Observed = (Tid, Option<u64>, Option<u64>, u64, u64);

    fn told(lives: Lives, processes: &[Process]) -> Vec<Observed> {
        let all = lives.finish(processes, START_NS).into_iter();
        all.map(|life| (life.tgid, life.born_ns, life.ended_ns, life.requests, life.errors)).collect()
    }

    #[test]
    fn a_worker_is_there_from_its_birth_or_the_beginning_to_its_end_or_the_end() {
        let mut lives = Lives::default();
        lives.add(&request(7, 200));
        lives.change(&exit(7, 70), 40);
        lives.change(&fork(8), 50);
        lives.change(&exit(7, 7), 60);
        [request(8, 503), request(8, 200), request(7, 500)].iter().for_each(|request| lives.add(request));
        let processes =
            [process(7, "worker"), process(8, "worker"), process(9, "worker"), process(1, "master")];
        let expected = [(7, None, Some(60), 2, 1), (8, Some(50), None, 2, 1), (9, None, None, 0, 0)];
        assert_eq!(told(lives.clone(), &processes), expected);
        lives.roll();
        assert_eq!(told(lives, &processes)[1], (8, None, None, 0, 0), "it was there as the next one began");
    }

    #[test]
    fn what_was_before_the_window_is_no_part_of_it() {
        let mut lives = Lives::default();
        lives.change(&fork(7), 20);
        lives.change(&fork(8), 20);
        lives.change(&exit(8, 8), 29);
        let processes = [process(7, "worker"), process(8, "worker")];
        assert_eq!(told(lives, &processes), [(7, None, None, 0, 0)]);
    }

    #[test]
    fn who_does_not_serve_and_who_stands_in_front_are_no_workers() {
        let mut lives = Lives::default();
        lives.change(&fork(8), 50);
        [request(9, 200), request(6, 200)].iter().for_each(|request| lives.add(request));
        assert_eq!(told(lives, &[process(9, "front_end"), process(8, "unknown")]), [(6, None, None, 1, 0)]);
    }

    #[test]
    fn the_next_process_with_a_number_has_a_life_of_its_own() {
        let mut lives = Lives::default();
        lives.add(&request(7, 200));
        lives.change(&exit(7, 7), 60);
        lives.change(&fork(7), 70);
        lives.add(&request(7, 200));
        assert_eq!(told(lives, &[]), [(7, None, Some(60), 1, 0), (7, Some(70), None, 1, 0)]);
    }

    #[test]
    fn a_worker_that_ended_before_the_window_and_is_remembered_for_its_children_is_none_of_it() {
        let ended = Process { exit_code: Some(0), ..process(7, "worker") };
        assert_eq!(told(Lives::default(), &[ended.clone(), process(8, "worker")]), [(8, None, None, 0, 0)]);
        let mut lives = Lives::default();
        lives.change(&exit(7, 7), 60);
        assert_eq!(told(lives, &[ended]), [(7, None, Some(60), 0, 0)], "within it");
    }

    #[test]
    fn children_that_came_and_went_make_room_for_workers() {
        let mut lives = Lives::default();
        for tgid in 0..MAX_COUNTED as u32 + 5 {
            lives.change(&fork(tgid), 50);
            lives.change(&exit(tgid, tgid), 60);
        }
        assert_eq!((lives.of.len(), lives.evicted()), (5, 0));
    }

    #[test]
    fn a_process_for_which_there_is_no_room_is_counted() {
        let mut lives = Lives::default();
        (0..=MAX_COUNTED as u32).for_each(|tgid| lives.change(&fork(tgid), 1));
        assert_eq!((lives.of.len(), lives.evicted()), (MAX_COUNTED, 1));
    }
}
