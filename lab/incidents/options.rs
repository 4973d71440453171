//! What is asked for on the command line.
//!
//! In: arguments. Out: [`Options`], and the incidents that they choose.

use anyhow::{Context as _, bail};

use crate::incident::Incident;
use crate::record::Mode;

pub(crate) const USAGE: &str =
    "usage: incidents [--runs N] [--seed S] [--mode full|light] [--leaf TEXT] [--about TEXT] [--fixed] [--keep] [--again] [--list]

  --runs N     so many incidents (20)
  --seed S     the first of their seeds (1); each seed is one incident
  --mode M     in this mode alone; otherwise in both
  --leaf TEXT  incidents whose leaf has this in its name
  --about TEXT incidents that --list says this of
  --fixed      the small set that is always the same
  --keep       keeps all reports and recordings, not only of what is not right
  --again      judges what was kept once more, by the program as it is now
  --list       says which incidents these are, and runs none";

/// Seeds of the small set: each server, leaves of different kinds, paths of different lengths.
const FIXED: [u64; 11] = [1, 2, 3, 4, 5, 8, 10, 11, 19, 29, 39];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    runs: usize,
    seed: u64,
    leaf: String,
    about: String,
    is_fixed: bool,
    pub(crate) modes: Vec<Mode>,
    pub(crate) keeps: bool,
    pub(crate) is_again: bool,
    pub(crate) is_list: bool,
}

impl Options {
    /// `None`: help is asked for.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut options = Self {
            runs: 20,
            seed: 1,
            leaf: String::new(),
            about: String::new(),
            is_fixed: false,
            modes: Mode::ALL.to_vec(),
            keeps: false,
            is_again: false,
            is_list: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} wants a value\n{USAGE}"));
            match argument.as_str() {
                "--runs" => options.runs = value()?.parse()?,
                "--seed" => options.seed = value()?.parse()?,
                "--leaf" => options.leaf = value()?,
                "--about" => options.about = value()?,
                "--mode" => {
                    let name = value()?;
                    options.modes.retain(|mode| mode.name() == name);
                }
                "--fixed" => options.is_fixed = true,
                "--keep" => options.keeps = true,
                "--again" => options.is_again = true,
                "--list" => options.is_list = true,
                "--help" => return Ok(None),
                other => bail!("{other:?} is no option\n{USAGE}"),
            }
        }
        if options.modes.is_empty() {
            bail!("there is no such mode\n{USAGE}");
        }
        Ok(Some(options))
    }

    /// The incidents of these seeds.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        if self.is_fixed {
            return FIXED.into_iter().map(Incident::new).collect();
        }
        // Not every seed has the leaf, but one in a hundred has any.
        let seeds = (self.seed..).take(self.runs.saturating_mul(100));
        let all = seeds.map(Incident::new).filter(|one| one.leaf.name().contains(&self.leaf));
        let all = all.filter(|one| one.about().contains(&self.about));
        all.take(self.runs).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parsed(arguments: &str) -> anyhow::Result<Option<Options>> {
        Options::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn seeds_go_on_from_the_first_and_a_leaf_chooses_among_them() {
        let incidents = parsed("--seed 5 --runs 3").unwrap().unwrap().incidents();
        assert_eq!(incidents.iter().map(|one| one.seed).collect::<Vec<_>>(), [5, 6, 7]);
        let chosen = parsed("--leaf SQLite --runs 4").unwrap().unwrap().incidents();
        assert_eq!(chosen.len(), 4);
        assert!(chosen.iter().all(|one| one.leaf.name() == "SQLite write lock"));
        for wrong in ["--mode half", "--seed", "--runs x", "--seeds 1"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_small_set_has_every_server_another_leaf_each_and_paths_of_every_length() {
        let incidents = parsed("--fixed").unwrap().unwrap().incidents();
        let servers: BTreeSet<String> =
            incidents.iter().map(|one| format!("{:?}", one.server.kind)).collect();
        assert_eq!(servers.len(), crate::server::SERVERS.len());
        let leaves: BTreeSet<&str> = incidents.iter().map(|one| one.leaf.name()).collect();
        assert_eq!(leaves.len(), incidents.len());
        let lengths: BTreeSet<usize> = incidents.iter().map(|one| one.hops.len()).collect();
        assert!(lengths.is_superset(&BTreeSet::from([0, 1, 2])), "{lengths:?}");
    }
}
