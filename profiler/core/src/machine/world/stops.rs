//! Who stopped processes of the target, and when they were resumed.
//!
//! In: signals as they are sent. Out: who keeps a process stopped at a moment. A process does not end by
//! these.

use std::collections::VecDeque;

use profiler_common::record::evidence::{SIGCONT, STOPS};

use crate::bounded::{BoundedMap, push_newest};
use crate::event::{Signal, Tid};

/// The signal that a process cannot handle.
const SIGSTOP: u32 = STOPS[0];
/// Processes of which this is known.
const MAX_PROCESSES: usize = 4096;
/// Newest signals kept of each.
const MAX_SIGNALS: usize = 16;

/// One such signal.
#[derive(Clone, Debug)]
struct Sent {
    at_ns: u64,
    /// Who stops the process, and whether it may not handle that; `None`: it goes on.
    stops: Option<(Sender, bool)>,
}

/// Who sent a signal.
#[derive(Clone, Debug)]
enum Sender {
    Process(Tid, String),
    /// The kernel, for one on a key of the terminal.
    Kernel,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    sent: BoundedMap<Tid, VecDeque<Sent>, MAX_PROCESSES>,
}

impl Stops {
    /// Takes a signal. Says whether it is one that stops a process or resumes it.
    pub fn note(&mut self, signal: &Signal, at_ns: u64) -> bool {
        let stops = STOPS.contains(&signal.number);
        if !stops && signal.number != SIGCONT {
            return false;
        }
        let sender = || {
            if signal.by_kernel {
                Sender::Kernel
            } else {
                Sender::Process(signal.sender_tgid, signal.sender_comm.clone())
            }
        };
        if let Some(sent) = self.sent.get_or_default(signal.tgid) {
            push_newest(
                sent,
                MAX_SIGNALS,
                Sent { at_ns, stops: stops.then(|| (sender(), signal.number == SIGSTOP)) },
            );
        }
        true
    }

    /// The process that has stopped another one, which was not resumed by `at_ns`, and its name. `None`:
    /// nobody was seen to, or the kernel did.
    pub fn stopped_by(&self, tgid: Tid, at_ns: u64) -> Option<(Tid, String)> {
        let before = self.sent.get(&tgid)?.iter().rev().skip_while(|sent| sent.at_ns > at_ns);
        let stops: Vec<&(Sender, bool)> = before.map_while(|sent| sent.stops.as_ref()).collect();
        // One that is stopped already is not stopped by the next signal; but it may have handled the first.
        let sure = stops.iter().rev().find(|(_, is_sure)| *is_sure);
        let (sender, _) = sure.or_else(|| stops.last())?;
        match sender {
            Sender::Process(tgid, comm) => Some((*tgid, comm.clone())),
            Sender::Kernel => None,
        }
    }

    /// A process with this number is born: signals to an earlier one do not concern it.
    pub fn born(&mut self, tgid: Tid) {
        self.sent.remove(&tgid);
    }

    /// Processes that found no place.
    pub const fn evicted(&self) -> u64 {
        self.sent.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: u32 = SIGSTOP;
    const TERMINAL_STOP: u32 = 20;

    fn signal(number: u32, sender_tgid: Tid, by_kernel: bool) -> Signal {
        Signal { tgid: 7, number, by_kernel, sender_tgid, sender_comm: format!("p{sender_tgid}") }
    }

    #[test]
    fn who_stopped_a_process_is_known_until_it_goes_on() {
        let mut stops = Stops::default();
        for (at_ns, number, sender) in
            [(10, STOP, 1), (20, STOP, 2), (30, SIGCONT, 3), (40, TERMINAL_STOP, 4), (50, SIGCONT, 4)]
        {
            assert!(stops.note(&signal(number, sender, false), at_ns));
        }
        let by = |at_ns| stops.stopped_by(7, at_ns).map(|(tgid, _)| tgid);
        assert_eq!((by(9), by(10), by(29)), (None, Some(1), Some(1)), "the second found it stopped");
        assert_eq!((by(30), by(45), by(50)), (None, Some(4), None));
        assert_eq!(stops.stopped_by(8, 45), None);
        assert!(stops.note(&signal(TERMINAL_STOP, 5, false), 60) && stops.note(&signal(STOP, 6, false), 70));
        assert_eq!(stops.stopped_by(7, 65).map(|(tgid, _)| tgid), Some(5));
        assert_eq!(stops.stopped_by(7, 70).map(|(tgid, _)| tgid), Some(6), "it may have handled the first");
    }

    #[test]
    fn a_key_of_the_terminal_is_nobody_and_other_signals_are_not_taken() {
        let mut stops = Stops::default();
        assert!(stops.note(&signal(TERMINAL_STOP, 4, true), 10));
        assert_eq!(stops.stopped_by(7, 10), None);
        for number in [1, 2, 9, 15, 17] {
            assert!(!stops.note(&signal(number, 4, false), 20));
        }
        assert!(stops.note(&signal(SIGCONT, 4, true), 30) && stops.note(&signal(STOP, 4, false), 40));
        assert_eq!(stops.stopped_by(7, 40), Some((4, "p4".to_owned())));
        stops.born(7);
        assert_eq!(stops.stopped_by(7, 40), None);
    }

    #[test]
    fn a_process_for_which_there_is_no_room_is_counted() {
        let mut stops = Stops::default();
        for tgid in 0..=Tid::try_from(MAX_PROCESSES).unwrap() {
            stops.note(&Signal { tgid, ..signal(STOP, 1, false) }, 5);
        }
        assert_eq!(stops.evicted(), 1);
    }
}
