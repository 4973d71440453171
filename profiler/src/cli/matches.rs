//! `--match` on the command line: which servers of a node.
//!
//! In: words as `pod=web-*`. Out: [`Match`]es.

use std::fmt;
use std::str::FromStr;

use wildmatch::WildMatch;

/// What can be asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Its software, application or command.
    Name,
    /// The name or number of the user that it runs as.
    User,
    /// A path of its control group.
    Cgroup,
    /// The id or name of its container.
    Container,
    /// Its pod in Kubernetes.
    Pod,
    /// Its namespace in Kubernetes.
    Namespace,
    /// A TCP port that it listens on.
    Port,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Name, Self::User, Self::Cgroup, Self::Container, Self::Pod, Self::Namespace, Self::Port];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
            Self::Port => "port",
        }
    }
}

/// One condition.
#[derive(Clone, Debug)]
pub struct Match {
    /// What is asked.
    pub key: Key,
    pattern: WildMatch,
}

impl Match {
    /// Whether this value meets it.
    pub fn fits(&self, value: &str) -> bool {
        self.pattern.matches(value)
    }
}

/// Why a word is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {} with a pattern, such as pod=web-*", Names)]
pub struct MatchError;

struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Key::ALL.map(Key::name).join(", "))
    }
}

impl FromStr for Match {
    type Err = MatchError;

    fn from_str(word: &str) -> Result<Self, MatchError> {
        let (name, pattern) = word.split_once('=').ok_or(MatchError)?;
        let key = Key::ALL.into_iter().find(|key| key.name() == name).ok_or(MatchError)?;
        if pattern.is_empty() {
            return Err(MatchError);
        }
        Ok(Self { key, pattern: WildMatch::new(pattern) })
    }
}

/// Whether all keys are met that are asked for; of one key, any pattern will do. `values` says what a server
/// has of a key.
pub fn fit(matches: &[Match], values: impl Fn(Key) -> Vec<String>) -> bool {
    Key::ALL.into_iter().all(|key| {
        let mut asked = matches.iter().filter(|one| one.key == key).peekable();
        if asked.peek().is_none() {
            return true;
        }
        let has = values(key);
        asked.any(|one| has.iter().any(|value| one.fits(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_to_be_met_and_of_one_key_any_pattern() {
        let values = |key: Key| match key {
            Key::Pod => vec!["web-7f".to_owned()],
            Key::Port => vec!["8000".to_owned(), "9000".to_owned()],
            _ => Vec::new(),
        };
        for (words, expected) in [
            (&[][..], true),
            (&["pod=web-*"][..], true),
            (&["pod=api-*", "pod=web-??"][..], true),
            (&["pod=web-*", "port=9000"][..], true),
            (&["pod=web-*", "port=80"][..], false),
            (&["user=www-data"][..], false),
        ] {
            let matches: Vec<Match> = words.iter().map(|word| word.parse().expect("a condition")).collect();
            assert_eq!(fit(&matches, values), expected, "{words:?}");
        }
    }

    #[test]
    fn a_word_that_is_no_condition_says_what_is() {
        for word in ["", "pod", "pods=x", "pod="] {
            let error = word.parse::<Match>().expect_err(word).to_string();
            assert!(error.contains("namespace") && error.contains("pod=web-*"), "{error}");
        }
    }
}
