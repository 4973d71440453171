//! What is known when a run begins: which phases it cannot measure, and whose run it is.
//!
//! In: the facts before the window. Out: a [`Beginning`] for forms of reports, and what an export says of
//! each row.

use profiler_core::fact::container::Container;
use profiler_core::fact::{Fact, InterpreterSeen, ListenerSeen, ProcessSeen, SessionStarted, Sight};
use profiler_core::machine::lock::gil::not_measured as gil_not_measured;
use profiler_core::model::gil_method::blind;
use profiler_core::pipeline::not_measured;
use profiler_core::server::has_front_end;

use crate::report::form::Beginning;

/// Interpreters remembered until the run begins.
const MAX_INTERPRETERS: usize = 4096;
/// Processes, and listeners, remembered until then.
const MAX_PROCESSES: usize = 4096;

/// What facts have said so far.
#[derive(Clone, Debug)]
pub struct Known {
    session: Option<SessionStarted>,
    container: Option<Container>,
    arrival_measured: bool,
    sight: Sight,
    interpreters: Vec<InterpreterSeen>,
    /// Why most waits for the lock are not seen, if they are not.
    blind: Option<String>,
    processes: Vec<ProcessSeen>,
    listeners: Vec<ListenerSeen>,
}

impl Known {
    /// Nothing yet.
    pub const fn nothing() -> Self {
        Self {
            session: None,
            container: None,
            arrival_measured: true,
            sight: Sight::Calls,
            interpreters: Vec::new(),
            blind: None,
            processes: Vec::new(),
            listeners: Vec::new(),
        }
    }

    /// Takes a fact from before the window.
    pub fn note(&mut self, fact: &Fact) {
        match fact {
            Fact::SessionStarted(session) => self.session = Some(session.clone()),
            Fact::Container(container) => self.container = Some(container.clone()),
            Fact::Attached(attached) => {
                self.arrival_measured = attached.arrival_measured;
                self.sight = attached.sight();
            }
            Fact::InterpreterSeen(seen) if self.interpreters.len() < MAX_INTERPRETERS => {
                self.interpreters.push(seen.clone());
            }
            Fact::GilMethod(method) => self.blind = blind(method),
            Fact::ProcessSeen(seen) if self.processes.len() < MAX_PROCESSES => {
                self.processes.retain(|known| known.tgid != seen.tgid);
                self.processes.push(seen.clone());
            }
            Fact::ListenerSeen(seen) if self.listeners.len() < MAX_PROCESSES => {
                self.listeners.push(seen.clone());
            }
            _ => {}
        }
    }

    /// Who watches what, where.
    pub const fn session(&self) -> Option<&SessionStarted> {
        self.session.as_ref()
    }

    /// The container of the target; where no fact names it, as its processes' cgroups do.
    pub fn container(&self) -> Option<Container> {
        let target = self.session.as_ref().map_or(0, |session| session.target_pid);
        let named = self.processes.iter().filter(|process| process.tgid == target);
        let mut cgroups = named.chain(&self.processes).filter_map(|process| process.cgroup.as_deref());
        self.container.clone().or_else(|| cgroups.find_map(Container::of_cgroup))
    }

    /// Processes of the target.
    pub fn processes(&self) -> &[ProcessSeen] {
        &self.processes
    }

    /// Listening sockets of the target.
    pub fn listeners(&self) -> &[ListenerSeen] {
        &self.listeners
    }

    /// The beginning of a run of which this is known.
    pub fn beginning(&self) -> Beginning {
        let has_front = has_front_end(&self.processes, &self.listeners);
        let gil = self.blind.clone().or_else(|| gil_not_measured(self.interpreters.iter()));
        let not_measured = not_measured(self.arrival_measured, gil, has_front, self.sight);
        Beginning {
            not_measured: not_measured.into_iter().map(|(phase, _)| phase).collect(),
            wall_clock_offset_ns: self.session.as_ref().map(|session| session.wall_clock_offset_ns),
        }
    }
}
