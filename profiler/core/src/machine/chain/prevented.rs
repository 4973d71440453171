//! What leaves prevent, each by itself and with those of its kind.
//!
//! In: the leaves of a window, the costliest first, and its lines. Out: request time that would not have been
//! without each of the first leaves, without each group of leaves, without all of them, and with more slots.

use std::collections::BTreeSet;

use crate::event::Tid;
use crate::machine::chain::replay::{LineOf, Lines, Replayed};
use crate::model::chain::{Group, GroupPrevented, Leaf, LeafKind, LeafTime};
use crate::model::chain_group::Level;
use crate::model::more_slots::MoreSlots;

/// Leaves of which it is replayed what they prevent.
const MAX_REPLAYED: usize = 12;
/// Groups of which it is replayed, the costliest first.
const MAX_GROUPS: usize = 24;

/// What is prevented beside what each leaf prevents.
#[derive(Debug)]
pub(super) struct Prevented {
    pub groups: Vec<GroupPrevented>,
    /// Without all leaves of waiting that are replayed.
    pub together_ns: u64,
    pub more_slots: MoreSlots,
}

/// Notes what each of the costliest leaves prevents. Returns the same of groups, of all together, and of more
/// slots. `None`: nothing was replayed.
pub(super) fn note(
    lines: Lines,
    leaves: &mut [LeafTime],
    line_of: impl Fn(Tid) -> LineOf,
) -> Option<Prevented> {
    let singles = singles(leaves);
    let groups = groups(leaves);
    let of_group = |group: &Group| -> BTreeSet<Leaf> {
        leaves.iter().map(|row| row.leaf).filter(|leaf| group.has(leaf)).collect()
    };
    let mut sets: Vec<BTreeSet<Leaf>> = singles.iter().map(|leaf| BTreeSet::from([*leaf])).collect();
    sets.extend(groups.iter().map(of_group));
    let Replayed { each_ns, together_ns, more_slots } = lines.replayed(&sets, line_of)?;
    let held_ns = |set: &BTreeSet<Leaf>| {
        let rows = leaves.iter().filter(|row| set.contains(&row.leaf));
        rows.fold(0_u64, |sum, row| sum.saturating_add(row.held_ns))
    };
    // What holds a slot beside requests is in no line.
    let mut prevented = each_ns.iter().zip(&sets).map(|(ns, set)| (*ns).max(held_ns(set)));
    let of_singles: Vec<u64> = prevented.by_ref().take(singles.len()).collect();
    let of_groups: Vec<GroupPrevented> = groups
        .into_iter()
        .zip(prevented)
        .map(|(group, prevented_ns)| GroupPrevented { group, prevented_ns })
        .collect();
    let all: BTreeSet<Leaf> = singles.iter().copied().collect();
    let together_ns = together_ns.max(held_ns(&all));
    for (leaf, prevented_ns) in singles.into_iter().zip(of_singles) {
        let rows = leaves.iter_mut().filter(|row| row.leaf == leaf);
        rows.for_each(|row| row.prevented_ns = Some(prevented_ns));
    }
    Some(Prevented { groups: of_groups, together_ns, more_slots })
}

/// The costliest leaves.
fn singles(leaves: &[LeafTime]) -> Vec<Leaf> {
    let mut singles: Vec<Leaf> = Vec::new();
    for row in leaves.iter().filter(|row| row.leaf.kind != LeafKind::NotFollowed) {
        if singles.len() < MAX_REPLAYED && !singles.contains(&row.leaf) {
            singles.push(row.leaf);
        }
    }
    singles
}

/// The costliest groups of each level.
fn groups(leaves: &[LeafTime]) -> Vec<Group> {
    let mut all = Vec::new();
    for level in Level::ALL {
        let mut held: Vec<(Group, u64)> = Vec::new();
        for row in leaves {
            let Some(group) = Group::of(&row.leaf, level) else { continue };
            match held.iter_mut().find(|(known, _)| *known == group) {
                Some((_, held_ns)) => *held_ns = held_ns.saturating_add(row.held_ns),
                None => held.push((group, row.held_ns)),
            }
        }
        held.sort_by_key(|(group, held_ns)| (std::cmp::Reverse(*held_ns), *group));
        all.extend(held.into_iter().take(MAX_GROUPS / Level::ALL.len()).map(|(group, _)| group));
    }
    all
}
