//! Readings that many sessions want at the same time: one reads, the others take what it has read.
//!
//! In: a way to read. Out: what was read a moment ago, or just now.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use profiler_core::fact::machine::MachineCpu;
use profiler_core::fact::queue::NetworkCounters;

use crate::fact::network::Namespace;
use crate::fact::socket::Queue;
use crate::fact::socket::diag::Family;

/// How old a reading of another session may be: half the time between two of one's own.
const FRESH_FOR: Duration = Duration::from_millis(50);
/// Readings of one kind that are kept: network namespaces, most of all.
const MAX_READINGS: usize = 32;

/// Inodes of listeners, with the queues of those that the kernel reports.
pub(super) type Sockets = Rc<Vec<(u64, Option<Queue>)>>;

/// Readings of one kind, by what they are of.
pub(super) struct Recent<K, V>(Rc<RefCell<BTreeMap<K, (Instant, V)>>>);

impl<K, V> Clone for Recent<K, V> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<K: Ord, V: Clone> Recent<K, V> {
    /// What was read less than 50 ms ago, or what `read` gives.
    ///
    /// # Errors
    /// As `read`.
    pub(super) fn of<E>(&self, key: K, read: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let known = self.0.borrow().get(&key).filter(|(at, _)| at.elapsed() < FRESH_FOR).cloned();
        if let Some((_, value)) = known {
            return Ok(value);
        }
        let value = read()?;
        let mut all = self.0.borrow_mut();
        if all.len() >= MAX_READINGS {
            all.clear();
        }
        all.insert(key, (Instant::now(), value.clone()));
        Ok(value)
    }
}

/// What sessions of one machine share.
#[derive(Clone, Default)]
pub(super) struct Readings {
    /// Listeners of a family in a namespace.
    pub(super) sockets: Recent<(Namespace, Family), Sockets>,
    /// Counters of a namespace.
    pub(super) network: Recent<Namespace, NetworkCounters>,
    /// CPU time of the machine.
    pub(super) machine: Recent<(), MachineCpu>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_read_is_not_read_again_and_a_failure_is_not_kept() {
        let recent: Recent<u8, u8> = Recent::default();
        assert_eq!(recent.of(1, || Err("gone")), Err("gone"));
        assert_eq!(recent.of(1, || Ok::<_, &str>(7)), Ok(7));
        assert_eq!(recent.clone().of(1, || Ok::<_, &str>(8)), Ok(7));
        assert_eq!(recent.of(2, || Ok::<_, &str>(9)), Ok(9), "another one is read");
        std::thread::sleep(FRESH_FOR);
        assert_eq!(recent.of(1, || Ok::<_, &str>(10)), Ok(10), "it is too old");
    }
}
