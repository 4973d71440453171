//! What requests had to do with back ends: how often they asked them, how long they waited for them, which
//! connections they set up.
//!
//! In: calls on back ends' sockets, by the peer's port. Out: [`RoundTrips`], of a request, or of all of an
//! endpoint.

/// Ports distinguished.
const MAX_PORTS: usize = 8;
/// Port of name servers (RFC 1035).
pub const NAME_SERVER_PORT: u16 = 53;

/// What there was to do with one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToPort {
    /// The peer's port (0: a UNIX socket, or not known).
    pub port: u16,
    /// Round trips: answers that were read after something was sent.
    pub count: u64,
    /// Waits on its sockets.
    pub waited_ns: u64,
    /// Connections that were set up and used within one request.
    pub connections: u64,
    /// The part of the waits until these were ready: for handshakes, for a server that greets first, for
    /// PostgreSQL's answer of one byte.
    pub connecting_ns: u64,
    /// The part of the waits from then on up to the first answer on each of them: a login, or what was asked
    /// for.
    pub first_answers_ns: u64,
}

impl ToPort {
    const fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.waited_ns = self.waited_ns.saturating_add(other.waited_ns);
        self.connections = self.connections.saturating_add(other.connections);
        self.connecting_ns = self.connecting_ns.saturating_add(other.connecting_ns);
        self.first_answers_ns = self.first_answers_ns.saturating_add(other.first_answers_ns);
    }
}

/// Round trips to back ends, waits for them and connections to them, by port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoundTrips {
    by_port: Vec<ToPort>,
    /// Round trips to ports beyond the bound.
    others: u64,
    /// Only waits are known, as in light mode: nobody saw the answers.
    has_waits_alone: bool,
}

impl RoundTrips {
    /// So much more to do with this port.
    pub fn add(&mut self, more: &ToPort) {
        if let Some(known) = self.by_port.iter_mut().find(|known| known.port == more.port) {
            known.add(more);
        } else if self.by_port.len() < MAX_PORTS {
            self.by_port.push(*more);
        } else {
            self.others = self.others.saturating_add(more.count);
        }
    }

    /// So long a wait for this port, of which nothing else is known.
    pub fn waits(&mut self, port: u16, waited_ns: u64) {
        if waited_ns > 0 {
            self.has_waits_alone = true;
            self.add(&ToPort { port, waited_ns, ..ToPort::default() });
        }
    }

    /// Whether round trips were not counted.
    pub const fn has_waits_alone(&self) -> bool {
        self.has_waits_alone
    }

    /// All of another's.
    pub fn add_all(&mut self, other: &Self) {
        self.has_waits_alone |= other.has_waits_alone;
        for more in &other.by_port {
            self.add(more);
        }
        self.others = self.others.saturating_add(other.others);
    }

    /// All round trips.
    pub fn total(&self) -> u64 {
        self.by_port.iter().fold(self.others, |sum, to| sum.saturating_add(to.count))
    }

    /// By port, most round trips first, or longest waits where only they are known; a port that never
    /// answered has none.
    pub fn by_port(&self) -> Vec<ToPort> {
        let mut ports = self.by_port.clone();
        let much = |to: &ToPort| if self.has_waits_alone { to.waited_ns } else { to.count };
        ports.sort_by_key(|to| (std::cmp::Reverse(much(to)), to.port));
        ports
    }

    /// By port, in the order in which they were asked first.
    pub fn ports(&self) -> impl Iterator<Item = &ToPort> {
        self.by_port.iter()
    }

    /// What there was to do with this port.
    pub fn to(&self, port: u16) -> ToPort {
        let known = self.by_port.iter().find(|known| known.port == port).copied();
        known.unwrap_or(ToPort { port, ..ToPort::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_bounded_and_nothing_is_lost_of_the_sum() {
        let mut all = RoundTrips::default();
        (0..20).for_each(|port| all.add(&ToPort { port, count: 2, ..ToPort::default() }));
        let mut twice = all.clone();
        twice.add_all(&all);
        assert_eq!((all.total(), twice.total()), (40, 80));
        assert_eq!(twice.by_port().len(), MAX_PORTS);
    }

    #[test]
    fn waits_of_which_nothing_else_is_known_are_no_round_trips() {
        let mut all = RoundTrips::default();
        all.waits(5432, 0);
        assert_eq!(all, RoundTrips::default());
        all.waits(5432, 3);
        all.waits(5432, 4);
        assert_eq!((all.total(), all.to(5432).waited_ns, all.has_waits_alone()), (0, 7, true));
        all.waits(80, 9);
        assert_eq!(all.by_port().iter().map(|to| to.port).collect::<Vec<_>>(), [80, 5432]);
        let mut sum = RoundTrips::default();
        sum.add_all(&all);
        assert_eq!(sum, all);
    }

    #[test]
    fn what_was_waited_and_set_up_is_added_up_by_port() {
        let mut all = RoundTrips::default();
        let first = ToPort {
            port: 5432,
            count: 3,
            waited_ns: 9,
            connections: 1,
            connecting_ns: 2,
            first_answers_ns: 4,
        };
        all.add(&first);
        all.add(&ToPort { port: 53, waited_ns: 7, ..ToPort::default() });
        all.add(&ToPort { port: 5432, count: 1, waited_ns: 1, ..ToPort::default() });
        assert_eq!(all.to(5432), ToPort { count: 4, waited_ns: 10, ..first });
        assert_eq!(
            (all.to(53).waited_ns, all.to(53).count, all.to(80)),
            (7, 0, ToPort { port: 80, ..ToPort::default() })
        );
        assert_eq!(all.by_port().iter().map(|to| to.port).collect::<Vec<_>>(), [5432, 53]);
    }
}
