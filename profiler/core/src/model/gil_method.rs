//! How waits for the interpreter lock were seen, and what that is known to miss.
//!
//! In: facts about the method, cumulative. Out: [`GilMethodUsed`], with the sentences that reports print. The
//! errors are those of lab/results/gil-truth.md, measured against the entry and the return of the
//! interpreter's own function.

use crate::fact::{GilFile, GilMethod};

/// What facts have told so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    now: Option<GilMethod>,
    hits_before: u64,
    attempts_before: u64,
}

impl Seen {
    /// A fact.
    pub fn note(&mut self, method: GilMethod) {
        self.now = Some(method);
    }

    /// Nothing is looked at.
    pub fn is_off(&self) -> bool {
        self.now.as_ref().is_some_and(|method| method.wanted == "off")
    }

    /// Why most waits are not seen, where that is so in some file.
    pub fn blind(&self) -> Option<String> {
        self.now.as_ref().and_then(blind)
    }

    /// The next window begins.
    pub fn roll(&mut self) {
        if let Some(now) = &self.now {
            (self.hits_before, self.attempts_before) = (now.probe_hits, now.attempts);
        }
    }

    /// What is reported of the window.
    pub fn finish(self) -> GilMethodUsed {
        // Recordings of earlier versions do not tell: they knew system calls only.
        let now = self.now.unwrap_or_default();
        GilMethodUsed {
            wanted: if now.wanted.is_empty() { "auto".to_owned() } else { now.wanted },
            follows_every_call: now.follows_every_call,
            files: now.files,
            probe_hits: now.probe_hits.saturating_sub(self.hits_before),
            attempts: now.attempts.saturating_sub(self.attempts_before),
        }
    }
}

/// Why most waits for the lock are not seen in this way; `None`: they are.
pub fn blind(method: &GilMethod) -> Option<String> {
    let file = method.files.iter().find(|file| file.is_blind)?;
    Some(format!("most waits for the GIL do not show in {} ({})", file.file, file.reason))
}

/// How waits were seen over one window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GilMethodUsed {
    /// What was asked for, as `--gil` has it.
    pub wanted: String,
    /// Every call that a thread makes after a wait is seen.
    pub follows_every_call: bool,
    /// By file with an interpreter.
    pub files: Vec<GilFile>,
    /// How often traced threads hit the probes.
    pub probe_hits: u64,
    /// How often an attempt to take the lock began (`full` only).
    pub attempts: u64,
}

impl GilMethodUsed {
    /// The way that sees least, of those in use: what the report says holds for every file.
    fn weakest(&self) -> &str {
        let rank = |file: &&GilFile| match file.method.as_str() {
            "full" if file.stepped > 0 => 3,
            "full" => 2,
            "uprobes" => 1,
            _ => 0,
        };
        if self.wanted == "sleeps" {
            return "sleeps";
        }
        let Some(file) = self.files.iter().min_by_key(rank) else { return "syscalls" };
        match rank(&file) {
            3 => "exact",
            2 => "full",
            1 => "uprobes",
            _ => "syscalls",
        }
    }

    /// The method, in words.
    pub fn method(&self) -> &'static str {
        match self.weakest() {
            "exact" => "probes at the entry and the return of the function that takes the lock",
            "full" => "probes where an attempt to take the lock begins and where it has taken it",
            "uprobes" => "system calls, and a probe where a thread is about to wait",
            "sleeps" => "sleeps on the lock's own futexes",
            _ => "system calls: waits on the lock's own futexes",
        }
    }

    /// What it is known to miss.
    pub fn known_error(&self) -> &'static str {
        match (self.weakest(), self.follows_every_call) {
            ("exact", _) => {
                "none known; attempts that found the lock free after all are not counted as waits"
            }
            ("full", _) => "a wait ends up to a few µs before the function returns",
            ("uprobes", true) => {
                "a wait is seen up to 1 µs late and ends a few µs early; a thread that is kept off its CPU at either end \
                 waits longer than is seen"
            }
            ("sleeps", _) => {
                "a wait is seen 3 to 5 µs late and ends a few µs early; two waits with less than 50 µs of computing and no \
                 other sleep between them count as one"
            }
            (_, true) => {
                "a wait is seen 3 to 5 µs late and ends a few µs early; a thread that is kept off its CPU at either end \
                 waits longer than is seen"
            }
            (_, false) => {
                "a wait is seen 3 to 5 µs late and ends a few µs early; two waits with less than 50 µs of computing and no \
                 observed system call between them count as one"
            }
        }
    }

    /// Why each file is watched as it is, for the files where that is not the plain answer to what was asked
    /// for.
    pub fn reasons(&self) -> impl Iterator<Item = &GilFile> {
        self.files.iter().filter(|file| file.method != self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(wanted: &str, hits: u64, files: &[(&str, u32)]) -> GilMethod {
        let file = |(method, stepped): &(&str, u32)| GilFile {
            method: (*method).to_owned(),
            stepped: *stepped,
            ..GilFile::default()
        };
        GilMethod {
            stacks: false,
            wanted: wanted.to_owned(),
            follows_every_call: true,
            files: files.iter().map(file).collect(),
            probe_hits: hits,
            attempts: hits / 2,
        }
    }

    #[test]
    fn hits_are_those_of_the_window() {
        let mut seen = Seen::default();
        seen.note(fact("full", 10, &[]));
        seen.roll();
        seen.note(fact("full", 16, &[]));
        let used = seen.finish();
        assert_eq!((used.probe_hits, used.attempts), (6, 3));
    }

    #[test]
    fn the_method_named_is_the_weakest_of_all_files() {
        let used = |files: &[(&str, u32)]| {
            let mut seen = Seen::default();
            seen.note(fact("full", 0, files));
            seen.finish()
        };
        assert!(used(&[("full", 1)]).method().contains("return"));
        assert!(used(&[("full", 1), ("full", 0)]).method().contains("has taken it"));
        assert!(used(&[("full", 1), ("uprobes", 0)]).method().contains("about to wait"));
        assert!(used(&[("full", 1), ("syscalls", 0)]).method().contains("futexes"));
        assert_eq!(used(&[("full", 1), ("syscalls", 0)]).reasons().count(), 1);
    }

    #[test]
    fn waits_that_the_c_library_hides_are_not_measured_and_the_reason_names_the_file() {
        let mut method = fact("auto", 0, &[("syscalls", 0), ("syscalls", 0)]);
        assert_eq!(blind(&method), None);
        method.files[1] = GilFile {
            is_blind: true,
            file: "python3.12".to_owned(),
            reason: "no probes".to_owned(),
            ..GilFile::default()
        };
        let said = blind(&method).expect("a reason");
        assert!(said.ends_with("do not show in python3.12 (no probes)"), "{said}");
    }

    #[test]
    fn light_mode_says_that_it_sees_sleeps_alone() {
        let mut seen = Seen::default();
        seen.note(fact("sleeps", 0, &[("sleeps", 0)]));
        let used = seen.finish();
        assert!(used.method().starts_with("sleeps") && used.known_error().contains("no other sleep"));
        assert_eq!(used.reasons().count(), 0);
    }

    #[test]
    fn a_recording_without_the_fact_was_made_by_system_calls() {
        let used = Seen::default().finish();
        assert_eq!(used.wanted, "auto");
        assert!(used.known_error().contains("50 µs"));
    }
}
