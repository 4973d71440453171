//! What is to be changed: of the server, of its machine, of what is asked.
//!
//! In: a load and a setting as recorded. Out: both with the change.

use profiler_core::phase::Phase;

use crate::load::{Arrives, Front, Load, Segment, Work};
use crate::setting::{Dispatch, Errands, Own, Setting, Wakes};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// So many worker processes.
    Processes(u32),
    /// So many threads in each.
    Threads(u32),
    /// So many cores.
    Cores(u32),
    /// So many times the requests a second.
    Rate(f64),
    /// A back end, by its number, takes so many times as long.
    BackEnd(usize, f64),
    /// All that runs on a CPU takes so many times as long.
    CpuTime(f64),
    /// A buffering proxy in front: no client is slow.
    Proxy,
    /// Another class of worker, where the server has such.
    Class(Class),
    /// These endpoints go to a server of their own, with so many processes and threads; `None`: as many as
    /// the other has.
    Split {
        /// Their numbers.
        endpoints: Vec<usize>,
        /// Its processes, and threads of each.
        slots: Option<(u32, u32)>,
    },
    /// No connection is kept: each request can go to any process.
    NoKeepAlive,
}

/// A class of worker, as far as its requests come to slots in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One slot in each process, which accepts for itself.
    Sync,
    /// A thread of each process accepts and hands over to a pool.
    Pool,
}

impl Change {
    /// Makes it.
    pub fn apply(&self, load: &mut Load, setting: &mut Setting) {
        match *self {
            Self::Class(class) => become_class(class, load, setting),
            Self::Split { ref endpoints, slots } => {
                let (processes, threads) = slots.unwrap_or((setting.processes, setting.threads));
                setting.own = Some(Own { endpoints: endpoints.clone(), processes, threads });
            }
            Self::Processes(processes) => setting.processes = processes,
            Self::Threads(threads) => setting.threads = threads,
            Self::Cores(cores) => *setting = setting.clone().on_cores(cores),
            Self::NoKeepAlive => setting.is_sticky = false,
            Self::Rate(factor) => {
                for request in &mut load.requests {
                    match &mut request.arrives {
                        Arrives::At(time_ns) | Arrives::After { think_ns: time_ns, .. } => {
                            *time_ns = times(*time_ns, 1.0 / factor);
                        }
                    }
                }
            }
            Self::BackEnd(which, factor) => {
                stretch(
                    load,
                    factor,
                    |work| matches!(work, Work::BackEnd(number) if number as usize == which),
                );
            }
            Self::CpuTime(factor) => {
                stretch(load, factor, is_on_cpu);
                let errands = match &mut setting.dispatch {
                    Dispatch::Shared(_) => None,
                    Dispatch::ByProcess(errands) => Some(errands),
                };
                let errands = errands.into_iter().flat_map(Errands::all_mut);
                let front = load.front.iter_mut().flat_map(Front::all_mut);
                lengthen(load.after.iter_mut().chain(errands).chain(front), factor, is_on_cpu);
            }
            Self::Proxy => {
                let is_client = |work| {
                    matches!(
                        work,
                        Work::ClientSends | Work::Wait(Phase::ClientReadStall | Phase::ClientWriteStall)
                    )
                };
                for request in &mut load.requests {
                    request.row.ahead_ns = 0;
                    request.row.segments.retain(|segment| !is_client(segment.work));
                    request.row.behind.retain(|segment| !is_client(segment.work));
                }
            }
        }
    }
}

/// The same work is done, by another thread: who accepts and closes connections.
fn become_class(class: Class, load: &mut Load, setting: &mut Setting) {
    match (class, &mut setting.dispatch) {
        (Class::Sync, Dispatch::ByProcess(errands)) => {
            let Errands { before, then, after, .. } = std::mem::take(errands);
            // Who serves it accepts it first.
            for request in &mut load.requests {
                request.row.segments.splice(..0, before.iter().copied());
            }
            load.after.extend(then.into_iter().chain(after));
            setting.dispatch = Dispatch::Shared(Wakes::Random);
            setting.is_sticky = false;
            setting.threads = 1;
        }
        (Class::Pool, Dispatch::Shared(_)) => {
            let mut pickups: Vec<u64> = load.requests.iter().map(|request| request.row.pickup_ns).collect();
            pickups.sort_unstable();
            let usual_ns = pickups.get(pickups.len() / 2).copied().unwrap_or(0);
            load.requests.iter_mut().for_each(|request| request.row.pickup_ns = 0);
            setting.dispatch = Dispatch::ByProcess(Errands {
                before: vec![Segment { work: Work::Python, duration_ns: usual_ns }],
                accept_at: 1,
                then: Vec::new(),
                after: std::mem::take(&mut load.after),
            });
            setting.is_sticky = true;
        }
        (Class::Sync, Dispatch::Shared(_)) | (Class::Pool, Dispatch::ByProcess(_)) => {}
    }
}

fn stretch(load: &mut Load, factor: f64, is_it: impl Fn(Work) -> bool) {
    let segments = load.requests.iter_mut().flat_map(|request| &mut request.row.segments);
    lengthen(segments, factor, is_it);
}

fn lengthen<'a>(segments: impl Iterator<Item = &'a mut Segment>, factor: f64, is_it: impl Fn(Work) -> bool) {
    for segment in segments.filter(|segment| is_it(segment.work)) {
        segment.duration_ns = times(segment.duration_ns, factor);
    }
}

const fn is_on_cpu(work: Work) -> bool {
    !work.is_wait()
}

/// A float becomes an integer within its range, whatever it is.
fn times(time_ns: u64, factor: f64) -> u64 {
    (time_ns as f64 * factor) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Request, Row};

    #[test]
    fn a_change_changes_what_it_names_and_nothing_else() {
        let works = [
            Work::Python,
            Work::Free(Phase::Write),
            Work::BackEnd(0),
            Work::BackEnd(1),
            Work::Wait(Phase::ClientReadStall),
            Work::Wait(Phase::Sleep),
        ];
        let segments = works.map(|work| Segment { work, duration_ns: 100 });
        let request = |arrives| Request {
            endpoint: 0,
            connection: 0,
            arrives,
            is_counted: true,
            row: Row { segments: segments.to_vec(), ..Row::default() },
        };
        let load = Load {
            requests: vec![request(Arrives::At(300)), request(Arrives::After { request: 0, think_ns: 600 })],
            after: vec![Segment { work: Work::Python, duration_ns: 100 }],
            ..Load::default()
        };
        let setting = Setting { is_sticky: true, ..Setting::default() };
        let with = |change: &Change| {
            let (mut load, mut setting) = (load.clone(), setting.clone());
            change.apply(&mut load, &mut setting);
            let durations: Vec<u64> =
                load.requests[0].row.segments.iter().map(|segment| segment.duration_ns).collect();
            let arrives = [load.requests[0].arrives, load.requests[1].arrives];
            let after_ns = load.after[0].duration_ns;
            (
                durations,
                arrives,
                after_ns,
                (setting.processes, setting.threads, setting.cores, setting.is_sticky),
            )
        };
        let today = (
            vec![100; 6],
            [Arrives::At(300), Arrives::After { request: 0, think_ns: 600 }],
            100,
            (1, 1, 1, true),
        );
        assert_eq!(with(&Change::Processes(3)), (today.0.clone(), today.1, 100, (3, 1, 1, true)));
        assert_eq!(with(&Change::Threads(3)), (today.0.clone(), today.1, 100, (1, 3, 1, true)));
        assert_eq!(with(&Change::Cores(3)), (today.0.clone(), today.1, 100, (1, 1, 3, true)));
        assert_eq!(with(&Change::NoKeepAlive), (today.0.clone(), today.1, 100, (1, 1, 1, false)));
        let faster = [Arrives::At(150), Arrives::After { request: 0, think_ns: 300 }];
        assert_eq!(with(&Change::Rate(2.0)), (today.0.clone(), faster, 100, today.3));
        let slow_back_end = vec![100, 100, 100, 150, 100, 100];
        assert_eq!(with(&Change::BackEnd(1, 1.5)), (slow_back_end, today.1, 100, today.3));
        let slow_cpu = vec![200, 200, 100, 100, 100, 100];
        assert_eq!(with(&Change::CpuTime(2.0)), (slow_cpu, today.1, 200, today.3));
        assert_eq!(with(&Change::Proxy), (vec![100; 5], today.1, 100, today.3));
    }

    #[test]
    fn another_class_of_worker_does_the_same_work_elsewhere() {
        let python = |duration_ns| Segment { work: Work::Python, duration_ns };
        let errands =
            Errands { before: vec![python(1)], accept_at: 0, then: vec![python(2)], after: vec![python(3)] };
        let pool = Setting {
            dispatch: Dispatch::ByProcess(errands),
            threads: 4,
            is_sticky: true,
            ..Setting::default()
        };
        let request = Request {
            endpoint: 0,
            connection: 0,
            arrives: Arrives::At(0),
            is_counted: true,
            row: Row { segments: vec![python(7)], ..Row::default() },
        };
        let (requests, after) = (vec![request], vec![python(9)]);
        let (mut load, mut setting) = (Load { requests, after, ..Load::default() }, pool.clone());
        Change::Class(Class::Sync).apply(&mut load, &mut setting);
        assert_eq!(
            load.requests[0].row.segments,
            [1, 7].map(python),
            "who serves a request accepts it first"
        );
        assert_eq!(load.after, [9, 2, 3].map(python));
        assert_eq!((setting.threads, setting.is_sticky), (1, false));
        assert_eq!(setting.dispatch, Dispatch::Shared(Wakes::Random));
        Change::Class(Class::Pool).apply(&mut load, &mut setting);
        let errands = Errands {
            before: vec![python(0)],
            accept_at: 1,
            after: [9, 2, 3].map(python).to_vec(),
            ..Errands::default()
        };
        assert_eq!(
            (setting.dispatch, load.after, setting.is_sticky),
            (Dispatch::ByProcess(errands), Vec::new(), true)
        );
        let mut same = pool.clone();
        Change::Class(Class::Pool).apply(&mut Load::default(), &mut same);
        assert_eq!(same, pool);
    }

    #[test]
    fn a_split_has_as_many_slots_as_the_other_server_unless_it_says() {
        for (slots, expected) in [(None, (2, 3)), (Some((1, 4)), (1, 4))] {
            let mut setting = Setting { processes: 2, threads: 3, ..Setting::default() };
            Change::Split { endpoints: vec![1], slots }.apply(&mut Load::default(), &mut setting);
            let own = setting.own.clone().unwrap();
            assert_eq!((own.processes, own.threads, own.endpoints), (expected.0, expected.1, vec![1]));
            assert_eq!(setting.slots(), 6 + expected.0 * expected.1);
        }
    }
}
