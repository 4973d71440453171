//! Who has the interpreter lock and who runs on which core.
//!
//! In: threads that want the one or the other, turns that end. Out: threads that run; the time of their
//! requests counts as what they wait for.

use profiler_core::phase::Phase;

use super::Engine;
use super::agenda::Event;
use super::cores::Core;
use super::thread::Thread;
use crate::load::Work;
use crate::setting::{AWAKE_NS, Setting, Turns};

impl Engine<'_> {
    // The interpreter lock.

    /// A thread on a core wants to run Python: whether it may; otherwise it waits for the lock.
    fn may_run(&mut self, number: usize) -> bool {
        let Some(thread) = self.threads.get(number).filter(|thread| thread.work == Work::Python) else {
            return true;
        };
        let process = thread.process;
        let Some(lock) = self.locks.get_mut(process).filter(|_| self.setting.switch_interval_ns.is_some())
        else {
            return true;
        };
        if lock.holder == Some(number) {
            if !lock.is_wanted {
                return true;
            }
            self.give_up_lock(number);
            return false;
        }
        let is_taken = lock.take(number, self.now_ns);
        if !is_taken {
            self.count(number, Phase::GilWait);
            self.count_interval(number);
        }
        is_taken
    }

    /// A thread that waits for the lock counts the switch interval: each its own (`take_gil` in CPython's
    /// `ceval_gil.c`).
    fn count_interval(&mut self, number: usize) {
        let (Some(interval_ns), Some(thread)) =
            (self.setting.switch_interval_ns, self.threads.get_mut(number))
        else {
            return;
        };
        thread.switches = self.locks.get(thread.process).map_or(0, |lock| lock.switches);
        thread.count = thread.count.wrapping_add(1);
        thread.counts_since_ns = self.now_ns;
        let event = Event::LockWanted { thread: number, count: thread.count };
        self.agenda.plan(self.now_ns.saturating_add(interval_ns), event);
    }

    /// The holder gives the lock up; who is woken for it is to be made ready.
    fn release_lock(&mut self, number: usize) -> Option<usize> {
        let process = self.threads.get(number)?.process;
        let lock = self.locks.get_mut(process)?;
        if lock.holder == Some(number) { lock.release(self.now_ns) } else { None }
    }

    /// A thread was woken for the lock: it can run when its wake-up is over.
    fn wake_for_lock(&mut self, number: usize) {
        self.count(number, Phase::RunQueue);
        let waited_ns =
            self.threads.get(number).map_or(0, |thread| self.now_ns.saturating_sub(thread.counts_since_ns));
        let is_awake = waited_ns < AWAKE_NS;
        let Setting { handovers_ns, quick_handovers_ns, .. } = self.setting;
        let handovers_ns = if is_awake { quick_handovers_ns } else { handovers_ns };
        let at = if handovers_ns.is_empty() { 0 } else { self.random.usize(..handovers_ns.len()) };
        match handovers_ns.get(at) {
            None => self.ready(number, None),
            Some(handover_ns) => {
                self.agenda.plan(self.now_ns.saturating_add(*handover_ns), Event::Ready(number));
            }
        }
    }

    /// The interval of a thread that waits is over: it asks for the lock if that has not changed hands
    /// meanwhile, and counts again.
    pub(super) fn lock_wanted(&mut self, number: usize, count: u64) {
        let Some(thread) = self.threads.get(number).filter(|thread| thread.count == count) else { return };
        let switches = thread.switches;
        let Some(lock) = self.locks.get(thread.process).filter(|lock| lock.has_waiting(number)) else {
            return;
        };
        let asked = lock.holder.filter(|_| lock.switches == switches);
        self.count_interval(number);
        if let Some(holder) = asked {
            self.ask(holder);
        }
    }

    /// The holder is to give the lock up: at once if it runs, or as soon as it does.
    fn ask(&mut self, holder: usize) {
        let Some((core, process)) = self.threads.get(holder).map(|thread| (thread.core, thread.process))
        else {
            return;
        };
        let Some(core) = core else {
            if let Some(lock) = self.locks.get_mut(process) {
                lock.is_wanted = true;
            }
            return;
        };
        self.pause(core);
        if self.threads.get(holder).is_some_and(|thread| thread.left_ns == 0) {
            // Should it go on with Python, it gives the lock up first.
            if let Some(lock) = self.locks.get_mut(process) {
                lock.is_wanted = true;
            }
            self.done(holder, core);
        } else {
            self.give_up_lock(holder);
        }
        self.look(core);
    }

    /// A holder that has more to do gives way to who waits.
    fn give_up_lock(&mut self, holder: usize) {
        let next = self.release_lock(holder);
        let process = self.threads.get(holder).map(|thread| thread.process);
        if let (Some(next), Some(lock)) = (next, process.and_then(|process| self.locks.get_mut(process))) {
            // It waits until another has had it.
            lock.wait(holder);
            self.count(holder, Phase::GilWait);
            self.count_interval(holder);
            self.wake_for_lock(next);
        } else {
            self.ready(holder, None);
        }
    }

    // Cores.

    /// A thread can run; `core`: the one that it is just leaving, where it goes on unless its turn is over.
    pub(super) fn ready(&mut self, number: usize, core: Option<usize>) {
        self.count(number, Phase::RunQueue);
        let Turns { quantum_ns, slice_ns } = self.setting.turns;
        let Some(thread) = self.threads.get_mut(number) else { return };
        let is_asked = core.and_then(|core| self.cores.get_mut(core)).is_some_and(|core| core.is_asked);
        let turn_ns = if is_asked { slice_ns.min(quantum_ns) } else { quantum_ns };
        match core {
            Some(core) if thread.used_ns < turn_ns || !self.cores.has_queue(core) => {
                self.cores.enqueue_first(number, core);
            }
            Some(core) => {
                thread.used_ns = 0;
                self.spread(core);
                self.cores.enqueue_last(number, core);
            }
            None => {
                thread.used_ns = 0;
                let core = self.cores.enqueue(number, thread.last_core);
                self.give_way(core);
                self.look(core);
            }
        }
    }

    /// A turn is over: those that wait there go to cores that have nothing to do.
    fn spread(&mut self, core: usize) {
        while let Some(idle) = self.cores.idle() {
            let Some(waiting) = self.cores.take(core) else { return };
            self.cores.enqueue_last(waiting, idle);
            self.look(idle);
        }
    }

    /// A thread woke up on a core: who runs there stops, if it has run for its slice.
    fn give_way(&mut self, core: usize) {
        if let Some(core) = self.cores.get_mut(core).filter(|core| core.is_held) {
            core.is_asked = true;
            return;
        }
        let Some(running) = self.cores.get_mut(core).and_then(|core| Some((core.running?, core.since_ns)))
        else {
            return;
        };
        let (number, since_ns) = running;
        let ran_ns = self.now_ns.saturating_sub(since_ns);
        let used_ns = self.threads.get(number).map_or(0, |thread| thread.used_ns.saturating_add(ran_ns));
        if used_ns < self.setting.turns.slice_ns {
            return;
        }
        self.pause(core);
        let Some(thread) = self.threads.get_mut(number) else { return };
        if thread.left_ns == 0 {
            self.done(number, core);
            return;
        }
        thread.used_ns = 0;
        self.count(number, Phase::RunQueue);
        self.cores.enqueue_last(number, core);
    }

    /// A core looks for something to do, if it has nothing.
    fn look(&mut self, core: usize) {
        while self.cores.get_mut(core).is_some_and(|core| core.running.is_none() && !core.is_held) {
            let Some(number) = self.cores.take(core) else { return };
            if self.may_run(number) {
                self.run(number, core);
            }
        }
    }

    fn run(&mut self, number: usize, on: usize) {
        let Some(thread) = self.threads.get_mut(number) else { return };
        let Some(core) = self.cores.get_mut(on) else { return };
        (thread.core, thread.last_core) = (Some(on), on);
        if thread.used_ns >= self.setting.turns.quantum_ns {
            thread.used_ns = 0;
        }
        core.running = Some(number);
        core.since_ns = self.now_ns;
        core.turn = core.turn.wrapping_add(1);
        let length_ns = thread.left_ns.min(self.setting.turns.quantum_ns - thread.used_ns);
        let turn = Event::Turn { core: on, turn: core.turn };
        let phase = if let Work::Free(phase) = thread.work { phase } else { Phase::Cpu };
        self.agenda.plan(self.now_ns.saturating_add(length_ns), turn);
        self.count(number, phase);
    }

    pub(super) fn turn_over(&mut self, core: usize, turn: u64) {
        let is_due = |core: &mut Core| core.turn == turn && core.running.is_some();
        if !self.cores.get_mut(core).is_some_and(is_due) {
            return;
        }
        let Some(number) = self.pause(core) else { return };
        if self.threads.get(number).is_some_and(|thread| thread.left_ns == 0) {
            self.done(number, core);
        } else {
            self.ready(number, Some(core));
        }
        self.look(core);
    }

    /// The core's thread stops here: which it was.
    fn pause(&mut self, core: usize) -> Option<usize> {
        let core = self.cores.get_mut(core)?;
        let number = core.running.take()?;
        let ran_ns = self.now_ns.saturating_sub(core.since_ns);
        core.busy_ns = core.busy_ns.saturating_add(ran_ns);
        core.turn = core.turn.wrapping_add(1);
        let thread = self.threads.get_mut(number)?;
        thread.core = None;
        thread.left_ns = thread.left_ns.saturating_sub(ran_ns);
        thread.used_ns = thread.used_ns.saturating_add(ran_ns);
        Some(number)
    }

    /// A thread on this core has done its piece of work.
    fn done(&mut self, number: usize, core: usize) {
        // It goes on where it is before another can take its core, and with the lock as long as it runs
        // Python.
        self.hold(core, true);
        self.advance(number, Some(core));
        self.hold(core, false);
        let goes_on = |thread: &Thread| thread.work == Work::Python && thread.left_ns > 0;
        if !self.threads.get(number).is_some_and(goes_on) {
            self.give_back_lock(number);
        }
    }

    fn hold(&mut self, core: usize, is_held: bool) {
        if let Some(core) = self.cores.get_mut(core) {
            (core.is_held, core.is_asked) = (is_held, false);
        }
    }

    /// A thread that has the lock gives it up, and whoever waits for it is woken.
    pub(super) fn give_back_lock(&mut self, number: usize) {
        if let Some(next) = self.release_lock(number) {
            self.wake_for_lock(next);
        }
    }
}
