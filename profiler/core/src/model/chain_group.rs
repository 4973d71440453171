//! What leaves have in common: their kind, then their object, then the endpoint that is at it.
//!
//! In: leaves. Out: groups from coarse to fine, of which each leaf belongs to one a level.

use super::chain::{Group, Leaf, LeafKind, TakenBy};

/// How fine leaves are distinguished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// By their kind; of a CPU that was taken also by whom: the quota, others. One that the server itself had
    /// is its computing.
    Kind,
    /// By their object, too.
    Object,
    /// By the endpoint for which the thread at the end worked, too.
    Endpoint,
}

impl Level {
    /// All, the coarsest first.
    pub const ALL: [Self; 3] = [Self::Kind, Self::Object, Self::Endpoint];
}

impl Group {
    /// The group of a leaf; `None`: the chain was not followed.
    pub fn of(leaf: &Leaf, level: Level) -> Option<Self> {
        let (kind, taken_by, endpoint) = match leaf.taken_by {
            _ if leaf.kind == LeafKind::NotFollowed => return None,
            Some(TakenBy::Request { endpoint }) => (LeafKind::Computing, None, endpoint),
            Some(TakenBy::Thread) => (LeafKind::Computing, None, 0),
            // Other programs are one kind of cause, whichever they are.
            Some(TakenBy::Program { .. }) if level == Level::Kind => (leaf.kind, None, leaf.endpoint),
            taken_by => (leaf.kind, taken_by, leaf.endpoint),
        };
        let object = (level >= Level::Object).then_some(leaf.object);
        Some(Self { kind, taken_by, object, endpoint: (level >= Level::Endpoint).then_some(endpoint) })
    }

    /// How fine it is.
    pub const fn level(&self) -> Level {
        match (self.object, self.endpoint) {
            (_, Some(_)) => Level::Endpoint,
            (Some(_), None) => Level::Object,
            (None, None) => Level::Kind,
        }
    }

    /// Whether a leaf belongs to it.
    pub fn has(&self, leaf: &Leaf) -> bool {
        Self::of(leaf, self.level()) == Some(*self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chain::Object;

    #[test]
    fn a_leaf_belongs_to_its_group_at_each_level_and_to_no_other() {
        let leaf = Leaf { object: Object::Peer { port: 5432 }, endpoint: 2, ..Leaf::of(LeafKind::BackEnd) };
        let elsewhere = Leaf { object: Object::Peer { port: 6379 }, ..leaf };
        let of_other = Leaf { endpoint: 3, ..leaf };
        for (level, has_elsewhere, has_other) in
            [(Level::Kind, true, true), (Level::Object, false, true), (Level::Endpoint, false, false)]
        {
            let group = Group::of(&leaf, level).unwrap();
            assert_eq!(group.level(), level);
            assert!(group.has(&leaf));
            assert_eq!(
                (group.has(&elsewhere), group.has(&of_other)),
                (has_elsewhere, has_other),
                "{level:?}"
            );
        }
        assert_eq!(Group::of(&Leaf::of(LeafKind::NotFollowed), Level::Kind), None);
    }

    #[test]
    fn a_cpu_that_the_server_itself_had_is_its_computing() {
        let taken = Leaf {
            taken_by: Some(TakenBy::Request { endpoint: 7 }),
            endpoint: 2,
            ..Leaf::of(LeafKind::CpuTaken)
        };
        let computing = Leaf { endpoint: 7, ..Leaf::of(LeafKind::Computing) };
        for level in Level::ALL {
            assert_eq!(Group::of(&taken, level), Group::of(&computing, level), "{level:?}");
        }
        let by_thread = Leaf { taken_by: Some(TakenBy::Thread), ..taken };
        let of_nobody = Leaf { endpoint: 0, ..computing };
        for level in Level::ALL {
            assert_eq!(Group::of(&by_thread, level), Group::of(&of_nobody, level), "{level:?}");
        }
        let by = |number| Leaf { taken_by: Some(TakenBy::Program { number }), ..taken };
        let groups = |level| [by(1), by(2)].map(|leaf| Group::of(&leaf, level));
        assert_eq!(groups(Level::Kind)[0], groups(Level::Kind)[1], "programs are one kind");
        assert_ne!(groups(Level::Object)[0], groups(Level::Object)[1]);
        let by_quota = Leaf { taken_by: Some(TakenBy::Quota), ..taken };
        assert_ne!(Group::of(&by_quota, Level::Kind), Group::of(&computing, Level::Kind));
    }
}
