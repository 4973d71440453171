//! What is asked for on the command line.
//!
//! In: arguments. Out: [`Options`], and the mixes that they choose.

use anyhow::{Context as _, bail};

use crate::mix::{Mix, SUBJECTS};

pub(crate) const USAGE: &str = "usage: mixes [--runs N] [--seed S] [--servers NAME,…] [--mirror] [--list]

  --runs N       so many mixes (200); 1: this one, also where it has been run before
  --seed S       the first of their seeds (1); each seed is one mix
  --servers a,b  mixes with these servers alone
  --mirror       the healthy twins alone
  --list         says which mixes these are, and runs none";

/// Mixes of one night.
const RUNS: usize = 200;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    runs: usize,
    seed: u64,
    /// Empty: all.
    servers: Vec<String>,
    is_mirror: bool,
    pub(crate) is_list: bool,
}

impl Options {
    /// `None`: help is asked for.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut options = Self { runs: RUNS, seed: 1, servers: Vec::new(), is_mirror: false, is_list: false };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} wants a value\n{USAGE}"));
            match argument.as_str() {
                "--runs" => options.runs = number(&value()?)?,
                "--seed" => options.seed = number(&value()?)?,
                "--servers" => options.servers = servers(&value()?)?,
                "--mirror" => options.is_mirror = true,
                "--list" => options.is_list = true,
                "--help" => return Ok(None),
                other => bail!("{other:?} is no option\n{USAGE}"),
            }
        }
        Ok(Some(options))
    }

    /// The mixes of the seeds from the first one on.
    pub(crate) fn mixes(&self) -> Vec<Mix> {
        if self.is_mirror {
            return Vec::new();
        }
        let is_wanted =
            |mix: &Mix| self.servers.is_empty() || self.servers.iter().any(|name| name == mix.server);
        (self.seed..).map(Mix::new).filter(is_wanted).take(self.runs).collect()
    }

    /// One mix, which is to be run whatever is known of it.
    pub(crate) fn is_one(&self) -> bool {
        self.runs == 1
    }

    /// Whether healthy twins are watched as well.
    pub(crate) fn has_mirror(&self) -> bool {
        self.is_mirror || self.is_all()
    }

    /// Whether it is a whole night's run, which the page shows.
    pub(crate) fn is_all(&self) -> bool {
        !self.is_mirror && self.servers.is_empty() && self.runs >= RUNS
    }
}

fn number<T: std::str::FromStr>(text: &str) -> anyhow::Result<T> {
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => bail!("{text:?} is no number\n{USAGE}"),
    }
}

fn servers(list: &str) -> anyhow::Result<Vec<String>> {
    let wanted: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let is_known = |name: &&str| SUBJECTS.iter().any(|subject| subject.name == *name);
    if let Some(unknown) = wanted.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = SUBJECTS.iter().map(|subject| subject.name).collect();
        bail!("there is no {unknown:?}; there are {}", known.join(", "));
    }
    if wanted.is_empty() {
        bail!("an empty list\n{USAGE}");
    }
    Ok(wanted.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &str) -> Options {
        Options::parse(arguments.split_whitespace().map(str::to_owned)).unwrap().unwrap()
    }

    #[test]
    fn a_night_is_two_hundred_seeds_and_the_healthy_twins() {
        let options = parsed("");
        let seeds: Vec<u64> = options.mixes().iter().map(|mix| mix.seed).collect();
        assert_eq!(seeds, (1..=200).collect::<Vec<_>>());
        assert!(options.is_all() && options.has_mirror() && !options.is_one());
    }

    #[test]
    fn one_seed_is_one_mix_alone() {
        let options = parsed("--seed 17 --runs 1");
        assert_eq!(options.mixes().iter().map(|mix| mix.seed).collect::<Vec<_>>(), [17]);
        assert!(options.is_one() && !options.is_all() && !options.has_mirror());
    }

    #[test]
    fn servers_choose_among_the_seeds_and_change_no_mix() {
        let chosen = parsed("--servers cheroot,uwsgi --runs 10").mixes();
        assert_eq!(chosen.len(), 10);
        for mix in chosen {
            assert!(["cheroot", "uwsgi"].contains(&mix.server));
            assert_eq!(mix.about(), Mix::new(mix.seed).about());
        }
    }

    #[test]
    fn the_mirror_runs_no_mix_and_what_is_unknown_is_refused() {
        let options = parsed("--mirror");
        assert!(options.mixes().is_empty() && options.has_mirror() && !options.is_all());
        for wrong in ["--server", "--runs x", "--servers nginx", "--seed"] {
            assert!(Options::parse(wrong.split_whitespace().map(str::to_owned)).is_err(), "{wrong}");
        }
    }
}
