//! What is to be changed: of the server, of its machine, of what is asked.
//!
//! In: a load and a setting as recorded. Out: both with the change.

use profiler_core::phase::Phase;

use crate::load::{Arrives, Load, Work};
use crate::setting::Setting;

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
    /// No connection is kept: each request can go to any process.
    NoKeepAlive,
}

impl Change {
    /// Makes it.
    pub fn apply(&self, load: &mut Load, setting: &mut Setting) {
        match *self {
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
                stretch(load, factor, |work| work == Work::BackEnd(which));
            }
            Self::CpuTime(factor) => {
                stretch(load, factor, |work| matches!(work, Work::Python | Work::Free(_)));
                for request in &mut load.requests {
                    request.row.after_ns = times(request.row.after_ns, factor);
                }
            }
            Self::Proxy => {
                let is_client =
                    |work| matches!(work, Work::Wait(Phase::ClientReadStall | Phase::ClientWriteStall));
                for request in &mut load.requests {
                    request.row.segments.retain(|segment| !is_client(segment.work));
                }
            }
        }
    }
}

fn stretch(load: &mut Load, factor: f64, is_it: impl Fn(Work) -> bool) {
    let segments = load.requests.iter_mut().flat_map(|request| &mut request.row.segments);
    for segment in segments.filter(|segment| is_it(segment.work)) {
        segment.duration_ns = times(segment.duration_ns, factor);
    }
}

/// A float becomes an integer within its range, whatever it is.
fn times(time_ns: u64, factor: f64) -> u64 {
    (time_ns as f64 * factor) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Request, Row, Segment};

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
            row: Row { segments: segments.to_vec(), after_ns: 100, ..Row::default() },
        };
        let load = Load {
            requests: vec![request(Arrives::At(300)), request(Arrives::After { request: 0, think_ns: 600 })],
            ..Load::default()
        };
        let setting = Setting { is_sticky: true, ..Setting::default() };
        let with = |change: &Change| {
            let (mut load, mut setting) = (load.clone(), setting.clone());
            change.apply(&mut load, &mut setting);
            let durations: Vec<u64> =
                load.requests[0].row.segments.iter().map(|segment| segment.duration_ns).collect();
            let arrives = [load.requests[0].arrives, load.requests[1].arrives];
            let after_ns = load.requests[0].row.after_ns;
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
}
