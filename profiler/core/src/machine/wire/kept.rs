//! What is kept of a request's account piece by piece, by the part that its process has in the request.
//!
//! In: stretches of the request's time with their phases. Out: a [`Trail`] or a [`Tail`].

use super::tail::Tail;
use super::trail::Trail;
use crate::phase::Phases;

/// What is kept.
#[derive(Clone, Debug, Default)]
pub enum Kept {
    /// Nothing: all of it happens in one process.
    #[default]
    Nothing,
    /// A front end's, from where it turned to the server behind.
    Trail(Box<Trail>),
    /// What is kept of a request of a server behind a front end.
    Tail(Box<Tail>),
}

impl Kept {
    /// The next stretch.
    pub fn push(&mut self, start_ns: u64, end_ns: u64, phases: &Phases) {
        match self {
            Self::Nothing => {}
            Self::Trail(trail) => trail.push(start_ns, end_ns, phases),
            Self::Tail(tail) => tail.push(start_ns, end_ns, phases),
        }
    }

    /// Whether single pieces matter.
    pub const fn is_any(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}
