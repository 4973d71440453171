//! Why processes of the target ended, and by whose signal.
//!
//! In: signals as they are sent, the kernel's choice of a victim, exit codes. Out: a [`Cause`] and what shows
//! it.

use std::collections::VecDeque;

use crate::bounded::{BoundedMap, push_newest};
use crate::event::{Signal, Tid};
use crate::model::dropped::Cause;

/// Processes whose signals are kept at once.
const MAX_PROCESSES: usize = 4096;
/// Newest signals kept of each: its end follows the last ones.
const MAX_SIGNALS: usize = 16;

const SIGHUP: u32 = 1;
const SIGINT: u32 = 2;
const SIGQUIT: u32 = 3;
const SIGABRT: u32 = 6;
const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

/// Signals sent to the processes of the target.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Signals {
    sent: BoundedMap<Tid, VecDeque<(u64, Signal)>, MAX_PROCESSES>,
    victims: BoundedMap<Tid, u64, MAX_PROCESSES>,
}

impl Signals {
    /// A signal was sent.
    pub(in crate::machine) fn send(&mut self, signal: &Signal, at_ns: u64) {
        let Some(sent) = self.sent.get_or_default(signal.tgid) else { return };
        push_newest(sent, MAX_SIGNALS, (at_ns, signal.clone()));
    }

    /// The kernel chose a process to kill.
    pub(in crate::machine) fn choose(&mut self, tgid: Tid, at_ns: u64) {
        self.victims.insert(tgid, at_ns);
    }

    /// Processes that found no place.
    pub(in crate::machine) const fn evicted(&self) -> u64 {
        self.sent.evicted() + self.victims.evicted()
    }

    /// Forgets what was sent to processes that no longer exist.
    pub(in crate::machine) fn retain(&mut self, stays: impl Fn(Tid) -> bool) {
        self.sent.retain(|tgid, _| stays(*tgid));
        self.victims.retain(|tgid, _| stays(*tgid));
    }

    /// A process with this number is born. Signals sent to an earlier process of that number do not concern
    /// it.
    pub(in crate::machine) fn born(&mut self, tgid: Tid) {
        self.sent.remove(&tgid);
        self.victims.remove(&tgid);
    }

    /// The parent sent the process SIGABRT between the two moments. Servers end a worker that takes too long
    /// like this.
    pub(in crate::machine) fn aborted(
        &self,
        tgid: Tid,
        parent: Tid,
        from_ns: u64,
        to_ns: u64,
    ) -> Option<String> {
        let sent = self.sent.get(&tgid)?;
        let is_it = |(at_ns, signal): &&(u64, Signal)| {
            signal.number == SIGABRT
                && signal.sender_tgid == parent
                && parent != 0
                && (from_ns..=to_ns).contains(at_ns)
        };
        sent.iter().find(is_it).map(|(_, signal)| said(signal))
    }

    /// When first, from `from_ns` on, anybody sent the process a signal that ends it.
    pub(in crate::machine) fn first_stop(&self, tgid: Tid, from_ns: u64) -> Option<u64> {
        let ends = |(at_ns, signal): &&(u64, Signal)| {
            *at_ns >= from_ns && (stops(signal.number) || signal.number == SIGKILL)
        };
        self.sent.get(&tgid)?.iter().find(ends).map(|(at_ns, _)| *at_ns)
    }

    /// The parent sent the process this signal: when first, and what shows it.
    pub(in crate::machine) fn told_to_end(
        &self,
        tgid: Tid,
        parent: Tid,
        number: u32,
    ) -> Option<(u64, String)> {
        let is_it = |(_, signal): &&(u64, Signal)| {
            signal.number == number && signal.sender_tgid == parent && parent != 0 && parent != tgid
        };
        let (at_ns, signal) = self.sent.get(&tgid)?.iter().find(is_it)?;
        Some((*at_ns, said(signal)))
    }

    /// The process sent itself a signal to stop: when first, and what shows it.
    pub(in crate::machine) fn ended_itself(&self, tgid: Tid) -> Option<(u64, String)> {
        let is_it = |(_, signal): &&(u64, Signal)| signal.sender_tgid == tgid && stops(signal.number);
        let (at_ns, signal) = self.sent.get(&tgid)?.iter().find(is_it)?;
        Some((*at_ns, format!("{}, sent by itself", name(signal.number))))
    }

    /// Why a process ended with this exit code, and what shows it.
    pub(in crate::machine) fn why(&self, tgid: Tid, parent: Tid, code: i64) -> (Cause, String) {
        let ended_by = u32::try_from(code & 0x7f).unwrap_or(0);
        let nobody = VecDeque::new();
        let sent = self.sent.get(&tgid).unwrap_or(&nobody);
        let by_parent = |number: u32| {
            sent.iter().any(|(_, signal)| {
                signal.number == number && signal.sender_tgid == parent && parent != 0 && parent != tgid
            })
        };
        let told_to_stop = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().any(by_parent);
        let last = sent.iter().rev().map(|(_, signal)| signal).find(|signal| signal.number == ended_by);
        if ended_by == SIGKILL && self.victims.contains_key(&tgid) {
            return (Cause::WorkerOutOfMemory, "the kernel killed it, as memory ran out".to_owned());
        }
        if ended_by == 0 {
            let stop = sent.iter().rev().map(|(_, signal)| signal).find(|signal| stops(signal.number));
            return match stop {
                Some(signal) if signal.number == SIGABRT && signal.sender_tgid == parent => {
                    (Cause::WorkerTimeout, said(signal))
                }
                Some(signal) if signal.sender_tgid != tgid => (Cause::WorkerKilled, said(signal)),
                _ => (Cause::WorkerExited, format!("it exited with status {}", code >> 8 & 0xff)),
            };
        }
        match last {
            Some(signal) if signal.by_kernel && ended_by != SIGKILL => {
                (Cause::WorkerCrashed, format!("{}, raised by the kernel", name(ended_by)))
            }
            Some(signal) if signal.sender_tgid == tgid => {
                let cause = if is_fault(ended_by) { Cause::WorkerCrashed } else { Cause::WorkerExited };
                (cause, format!("{}, sent by itself", name(ended_by)))
            }
            Some(signal) if ended_by == SIGABRT && by_parent(SIGABRT) => (Cause::WorkerTimeout, said(signal)),
            Some(signal) if by_parent(SIGKILL) && (by_parent(SIGABRT) || !told_to_stop) => {
                (Cause::WorkerTimeout, said(signal))
            }
            Some(signal) => (Cause::WorkerKilled, said(signal)),
            None if is_fault(ended_by) => (Cause::WorkerCrashed, name(ended_by).to_owned()),
            None => (Cause::WorkerKilled, format!("{}; who sent it was not seen", name(ended_by))),
        }
    }
}

fn said(signal: &Signal) -> String {
    if signal.by_kernel {
        return format!("{} from the kernel", name(signal.number));
    }
    format!("{} from process {} ({})", name(signal.number), signal.sender_tgid, signal.sender_comm)
}

const fn stops(signal: u32) -> bool {
    matches!(signal, SIGHUP | SIGINT | SIGQUIT | SIGABRT | SIGTERM)
}

/// `SIGILL`, `SIGABRT`, `SIGBUS`, `SIGFPE`, `SIGSEGV`, `SIGSYS`.
const fn is_fault(signal: u32) -> bool {
    matches!(signal, 4 | 6 | 7 | 8 | 11 | 31)
}

const fn name(signal: u32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        31 => "SIGSYS",
        _ => "a signal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(list: &[(u32, Tid, bool)]) -> Signals {
        let mut signals = Signals::default();
        for (at_ns, (number, sender_tgid, by_kernel)) in (1..).zip(list) {
            let (number, sender_tgid, by_kernel) = (*number, *sender_tgid, *by_kernel);
            let signal = Signal { tgid: 7, number, by_kernel, sender_tgid, sender_comm: "x".to_owned() };
            signals.send(&signal, at_ns);
        }
        signals
    }

    #[test]
    fn who_killed_a_worker_is_told_by_sender_and_signal() {
        const MASTER: Tid = 3;
        let cause = |list: &[(u32, Tid, bool)], code| sent(list).why(7, MASTER, code).0;
        assert_eq!(cause(&[(6, MASTER, false)], 6), Cause::WorkerTimeout, "gunicorn --timeout");
        assert_eq!(cause(&[(6, MASTER, false)], 0), Cause::WorkerTimeout, "the worker's own handler exits");
        assert_eq!(cause(&[(6, MASTER, false), (9, MASTER, false)], 9), Cause::WorkerTimeout);
        assert_eq!(cause(&[(9, MASTER, false)], 9), Cause::WorkerTimeout, "uWSGI harakiri");
        assert_eq!(cause(&[(15, MASTER, false), (9, MASTER, false)], 9), Cause::WorkerKilled, "a stop");
        assert_eq!(cause(&[(9, 99, false)], 9), Cause::WorkerKilled, "an operator");
        assert_eq!(cause(&[(11, 99, false)], 11), Cause::WorkerKilled, "kill -SEGV");
        assert_eq!(cause(&[(11, 7, true)], 11), Cause::WorkerCrashed, "a fault");
        assert_eq!(cause(&[(6, 7, false)], 6), Cause::WorkerCrashed, "abort()");
        assert_eq!(cause(&[], 11), Cause::WorkerCrashed, "no hook for signals");
        assert_eq!(cause(&[], 9), Cause::WorkerKilled);
        assert_eq!(cause(&[], 3 << 8), Cause::WorkerExited);
        let mut signals = sent(&[(9, 99, true)]);
        signals.choose(7, 5);
        assert_eq!(signals.why(7, MASTER, 9).0, Cause::WorkerOutOfMemory);
    }

    #[test]
    fn a_process_is_cut_off_by_the_first_signal_that_ends_it() {
        // SIGUSR1 at 1, SIGABRT at 2, SIGKILL at 3.
        let signals = sent(&[(10, 3, false), (6, 3, false), (9, 3, false)]);
        let first = |from_ns| signals.first_stop(7, from_ns);
        assert_eq!([first(0), first(3), first(4)], [Some(2), Some(3), None]);
        assert_eq!(signals.first_stop(8, 0), None);
    }

    #[test]
    fn a_process_for_which_there_is_no_room_is_counted_and_one_that_has_a_place_keeps_it() {
        let count = Tid::try_from(MAX_PROCESSES).unwrap();
        let signal = |tgid| Signal {
            tgid,
            number: SIGTERM,
            by_kernel: false,
            sender_tgid: 3,
            sender_comm: String::new(),
        };
        let send: fn(&mut Signals, &Signal) = |signals, signal| signals.send(signal, 5);
        let choose: fn(&mut Signals, &Signal) = |signals, signal| signals.choose(signal.tgid, 5);
        for (what, put) in [("a signal", send), ("a victim", choose)] {
            let mut signals = Signals::default();
            for (tgid, evicted) in (1..=count).map(|tgid| (tgid, 0)).chain([(7, 0), (count + 1, 1), (7, 1)]) {
                put(&mut signals, &signal(tgid));
                assert_eq!(signals.evicted(), evicted, "{what} for {tgid}");
            }
            assert_eq!(signals.sent.len() + signals.victims.len(), MAX_PROCESSES, "{what}");
        }
    }
}
