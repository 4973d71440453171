//! How often requests asked back ends and got an answer.
//!
//! In: answers that were read after something was sent, by the peer's port. Out: [`RoundTrips`], of a request, or of all of an endpoint.

/// Ports distinguished.
const MAX_PORTS: usize = 8;

/// Round trips to back ends, by port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoundTrips {
    /// Port (0: a UNIX socket, or not known) and how many.
    by_port: Vec<(u16, u64)>,
    /// To ports beyond the bound.
    others: u64,
}

impl RoundTrips {
    /// So many more to this port.
    pub fn add(&mut self, port: u16, number: u64) {
        if let Some((_, count)) = self.by_port.iter_mut().find(|(known, _)| *known == port) {
            *count = count.saturating_add(number);
        } else if self.by_port.len() < MAX_PORTS {
            self.by_port.push((port, number));
        } else {
            self.others = self.others.saturating_add(number);
        }
    }

    /// All of another's.
    pub fn add_all(&mut self, other: &Self) {
        for (port, number) in &other.by_port {
            self.add(*port, *number);
        }
        self.others = self.others.saturating_add(other.others);
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_port.iter().fold(self.others, |sum, (_, number)| sum.saturating_add(*number))
    }

    /// By port, most first.
    #[must_use]
    pub fn by_port(&self) -> Vec<(u16, u64)> {
        let mut ports = self.by_port.clone();
        ports.sort_by_key(|(port, number)| (std::cmp::Reverse(*number), *port));
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_bounded_and_nothing_is_lost_of_the_sum() {
        let mut all = RoundTrips::default();
        (0..20).for_each(|port| all.add(port, 2));
        let mut twice = all.clone();
        twice.add_all(&all);
        assert_eq!((all.total(), twice.total()), (40, 80));
        assert_eq!(twice.by_port().len(), MAX_PORTS);
    }
}
