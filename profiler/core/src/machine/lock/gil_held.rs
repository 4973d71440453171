//! Waiting for the interpreter lock, split by who had it.
//!
//! In: parts of waits, each with its holder. Out: sums by holder, of one thread or one request. They are
//! bounded; what exceeds the bound counts as unknown.

use super::gil_holder::HeldBy;
use super::gil_waits::EndedAttempts;

/// Holders distinguished, of one request or of one thread between two other calls.
const MAX_HOLDERS: usize = 16;

/// Waiting of one thread because of one holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Who had the lock.
    pub by: HeldBy,
    /// Time waited, run queue included.
    pub wait_ns: u64,
    /// Stretches of waiting that it consists of.
    pub waits: u64,
    /// The part of it in which the holder kept the lock although asked to give it up, where that took longer
    /// than the switch interval.
    pub not_honoured_ns: u64,
}

/// Adds a stretch of waiting to the shares of a thread. Beyond the bound it goes to the last share, whose
/// holder then counts as unknown.
pub fn add_share(shares: &mut Vec<Share>, share: Share) {
    let full = shares.len() >= MAX_HOLDERS;
    let place = shares.iter().position(|known| known.by == share.by);
    if place.is_none()
        && full
        && let Some(last) = shares.last_mut()
    {
        last.by = HeldBy::UNKNOWN;
    }
    let known = match place {
        Some(place) => shares.get_mut(place),
        None if full => shares.last_mut(),
        None => None,
    };
    match known {
        Some(known) => {
            known.wait_ns = known.wait_ns.saturating_add(share.wait_ns);
            known.waits = known.waits.saturating_add(share.waits);
            known.not_honoured_ns = known.not_honoured_ns.saturating_add(share.not_honoured_ns);
        }
        None => shares.push(share),
    }
}

/// Time in the phase `gil_wait`, by holder, and the waits one by one. The holder of any other such time is
/// not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    by: Vec<(HeldBy, u64)>,
    /// The waits, if each one is asked for.
    pub waits: EndedAttempts,
}

impl Held {
    /// Adds time in which `by` had the lock.
    pub fn add(&mut self, by: HeldBy, wait_ns: u64) {
        if by.contender == 0 || wait_ns == 0 {
            return;
        }
        if let Some((_, sum_ns)) = self.by.iter_mut().find(|(known, _)| *known == by) {
            *sum_ns = sum_ns.saturating_add(wait_ns);
        } else if self.by.len() < MAX_HOLDERS {
            self.by.push((by, wait_ns));
        }
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for (by, wait_ns) in &other.by {
            self.add(*by, *wait_ns);
        }
        if !other.waits.is_empty() {
            self.waits.add_all(other.waits.clone());
        }
    }

    /// Sums by holder, in the order in which they were first seen.
    pub fn iter(&self) -> impl Iterator<Item = (HeldBy, u64)> + '_ {
        self.by.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_place_is_not_known_and_not_somebody_elses() {
        let mut held = Held::default();
        let mut shares = Vec::new();
        for tid in 1..100 {
            let by = HeldBy { contender: tid, tid };
            held.add(by, 10);
            add_share(&mut shares, Share { by, wait_ns: 10, waits: 1, not_honoured_ns: 1 });
        }
        assert_eq!(held.iter().map(|(_, wait_ns)| wait_ns).sum::<u64>(), 160);
        assert_eq!(shares.iter().map(|share| share.wait_ns).sum::<u64>(), 990);
        assert_eq!(shares.last().map(|last| (last.by, last.wait_ns)), Some((HeldBy::UNKNOWN, 840)));
        held.add(HeldBy { contender: 3, tid: 3 }, 5);
        assert_eq!(held.iter().nth(2), Some((HeldBy { contender: 3, tid: 3 }, 15)));
    }
}
