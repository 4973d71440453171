//! The state of this stage.
//!
//! In: nothing by itself; the machines change it. Out: tables that they share, each bounded, and sums.

use crate::machine::join::link::Links;
use crate::machine::join::topology::Topology;

/// Halves of requests that cross processes.
#[derive(Clone, Debug, Default)]
pub struct Join {
    /// Who stands in front of whom.
    pub topology: Topology,
    /// More is known of the processes than `topology` says.
    pub topology_is_old: bool,
    /// Connections between a front end and the server behind it.
    pub links: Links,
}
