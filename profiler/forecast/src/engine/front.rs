//! A front end before the server: what it does for a request before a slot has it and after.
//!
//! In: the load's [`crate::load::Front`]. Out: threads that are no slot's and have no interpreter lock, one
//! for each request that it serves: how many that may be is not simulated. They compete for the cores.

use profiler_core::phase::Phase;

use super::Engine;
use super::thread::{Job, Leg, Thread};
use crate::load::{Front, Segment, Work};

impl Front {
    fn leg(&self, leg: Leg) -> &[Segment] {
        match leg {
            Leg::There => &self.before,
            Leg::Back => &self.after,
            Leg::Then => &self.then,
        }
    }
}

impl Engine<'_> {
    /// The front end has a request: it came, or its slot has answered.
    pub(super) fn run_front(&mut self, request: usize, leg: Leg) {
        self.meter(request, Phase::FrontEnd);
        let number = self.idle_fronts.pop().unwrap_or_else(|| {
            let core = self.threads.len() % self.setting.cores.max(1) as usize;
            self.threads.push(Thread::new(usize::MAX, core));
            self.threads.len() - 1
        });
        if let Some(thread) = self.threads.get_mut(number) {
            thread.job = Job::Front { request, leg, at: 0 };
        }
        self.advance(number, None);
    }

    /// What a thread of the front end does next; what it has just done takes effect.
    pub(super) fn next_of_front(
        &mut self,
        number: usize,
        (request, leg, at): (usize, Leg, usize),
    ) -> Option<(Work, u64)> {
        let own = self.load.front.as_ref().map_or(&[][..], |front| front.leg(leg));
        let behind = self.load.requests.get(request).map_or(&[][..], |request| &request.row.behind);
        let behind = if leg == Leg::Back { behind } else { &[] };
        if let Some(segment) = own.iter().chain(behind).nth(at).copied() {
            self.threads.get_mut(number)?.job = Job::Front { request, leg, at: at + 1 };
            if leg != Leg::Then {
                let phase = if let Work::Wait(phase) = segment.work { phase } else { Phase::FrontEnd };
                self.meter(request, phase);
            }
            return Some((segment.work, segment.duration_ns));
        }
        match leg {
            Leg::There => self.dispatch(request),
            Leg::Back => {
                self.respond(request);
                self.threads.get_mut(number)?.job = Job::Front { request, leg: Leg::Then, at: 0 };
                // Nothing to do yet: the caller asks again.
                return Some((Work::Free(Phase::FrontEnd), 0));
            }
            Leg::Then => {}
        }
        self.threads.get_mut(number)?.job = Job::Idle;
        self.idle_fronts.push(number);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::simulate;
    use crate::load::{Arrives, Load, Request, Row};
    use crate::setting::Setting;

    fn work(work: Work, duration_ns: u64) -> Segment {
        Segment { work, duration_ns }
    }

    /// Two requests that arrive at once, each computes for 5 ms.
    fn load(front: Option<Front>) -> Load {
        let request = |connection| Request {
            endpoint: 0,
            connection,
            arrives: Arrives::At(0),
            is_counted: true,
            row: Row { segments: vec![work(Work::Python, 5_000_000)], ..Row::default() },
        };
        Load {
            requests: vec![request(0), request(1)],
            front,
            endpoints: vec![String::new()],
            ..Load::default()
        }
    }

    #[test]
    fn a_front_end_has_a_request_before_and_after_its_slot_and_holds_none() {
        let front = Front {
            before: vec![work(Work::Free(Phase::FrontEnd), 200_000)],
            after: vec![
                work(Work::Free(Phase::FrontEnd), 100_000),
                work(Work::Wait(Phase::FrontEnd), 900_000),
            ],
            then: vec![work(Work::Free(Phase::FrontEnd), 50_000)],
        };
        let setting = Setting::default().on_cores(4);
        let outcome = simulate(&load(Some(front)), &setting).unwrap();
        let [first, second] = [0, 1].map(|number: usize| outcome.served[number]);
        assert_eq!(first.held_ns, (200_000, 5_200_000), "it asks for a slot when the front end has read it");
        assert_eq!((first.end_ns, first.phases.get(Phase::FrontEnd)), (6_200_000, 1_200_000));
        assert_eq!(second.held_ns, (5_200_000, 10_200_000), "the slot is free while the front end sends");
        let waited_ns = second.phases.get(Phase::AcceptQueue);
        assert_eq!((second.end_ns, waited_ns), (11_200_000, 5_000_000));
        let cores_ns: u64 = outcome.busy.cores_ns.iter().sum();
        assert_eq!(cores_ns, 2 * (5_000_000 + 350_000), "what it does after the response counts too");
    }

    #[test]
    fn a_front_end_competes_for_the_cores() {
        let front = Front { before: vec![work(Work::Free(Phase::FrontEnd), 1_000_000)], ..Front::default() };
        let setting = Setting { threads: 2, ..Setting::default() };
        let outcome = simulate(&load(Some(front)), &setting).unwrap();
        let last_ns = outcome.served.iter().map(|served| served.end_ns).max();
        assert_eq!(last_ns, Some(12_000_000), "one core does all of it");
    }
}
