//! How many servers of a node there are, as Prometheus metrics.
//!
//! In: counts. Out: OpenMetrics text.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Out, text};

/// How many there are.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Servers that are in the directory.
    pub watched: usize,
    /// Times that one was left out.
    pub skipped: u64,
    /// Looks through all processes.
    pub looks: u64,
    /// Whether this machine lets servers be watched, or why not; `None`: not tried yet.
    pub supported: Option<Result<(), String>>,
}

/// The counts, as OpenMetrics text.
///
/// # Errors
/// As [`render`](super::render).
pub fn render(counts: Counts) -> Result<String, fmt::Error> {
    text(NodeMetrics(counts))
}

#[derive(Debug)]
struct NodeMetrics(Counts);

impl Collector for NodeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut Out(&mut encoder);
        let counts = &self.0;
        out.gauge("servers", "Servers of this node that are watched", None, counts.watched as f64)?;
        out.counter(
            "servers_skipped",
            "Times that a server was left out; /healthz names them",
            counts.skipped,
        )?;
        out.counter("node_looks", "Looks through all processes of this node", counts.looks)?;
        if let Some(supported) = &counts.supported {
            let help = "This machine lets servers be watched; /healthz says why not";
            out.gauge("supported", help, None, f64::from(u8::from(supported.is_ok())))?;
        }
        Ok(())
    }
}
