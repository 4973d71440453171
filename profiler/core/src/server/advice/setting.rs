//! One setting as its server calls it, and one change of it.
//!
//! In: a name, its present value, what it sizes. Out: [`Setting`], which reads as `--threads (now 4)`;
//! [`Change`]; [`Move`].

use std::fmt;

use crate::model::{Origin, Server};

/// The quota of CPU, as cgroups call it.
pub(super) const CPU_MAX: &str = "cpu.max";

/// What a setting makes more or fewer of, where pieces of advice can disagree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Worker processes.
    Processes,
    /// Threads in each process.
    Threads,
    /// Requests that each event loop takes at once.
    Greenlets,
}

/// Which way a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A higher value.
    Raise,
    /// A lower value.
    Lower,
    /// The option as it is named, or the value that is proposed with it.
    Set,
    /// The option is not to be there any more.
    Remove,
}

impl Direction {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raise => "raise",
            Self::Lower => "lower",
            Self::Set => "set",
            Self::Remove => "remove",
        }
    }
}

/// Where a setting is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// An option of the server's command line; its settings file has it too, under a name of its own.
    #[default]
    CommandLine,
    /// A directive, or a parameter of one, in the server's configuration.
    Directive,
    /// A keyword or a call in the program that starts the server or makes the application.
    Program,
    /// A setting of the kernel (`sysctl`).
    Sysctl,
    /// The limits of its cgroup or service.
    Service,
}

impl Scope {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "command_line",
            Self::Directive => "directive",
            Self::Program => "program",
            Self::Sysctl => "sysctl",
            Self::Service => "service",
        }
    }
}

/// One of two ways for what a setting sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// What there is to be more or fewer of.
    pub what: Sizes,
    /// More of it; otherwise fewer, or at least no more.
    pub is_up: bool,
}

impl Move {
    /// More of something.
    pub const fn up(what: Sizes) -> Self {
        Self { what, is_up: true }
    }

    /// Fewer of something, or no more.
    pub const fn down(what: Sizes) -> Self {
        Self { what, is_up: false }
    }

    /// Whether this one and another are opposite ways of one thing.
    pub fn opposes(self, other: Self) -> bool {
        self.what == other.what && self.is_up != other.is_up
    }
}

/// A setting by the name that its server has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name (`--threads`, `ListenBacklog`, `net.core.somaxconn`).
    pub name: String,
    /// Where it is set.
    pub scope: Scope,
    /// What it makes more or fewer of.
    pub sizes: Option<Sizes>,
    /// Its present value; `None`: not known.
    pub present: Option<String>,
    /// The present value was only counted: it may be more.
    pub is_seen: bool,
    /// How the same is set in another way (`mod_wsgi-express: --threads`).
    pub also: Option<String>,
    /// Each process takes connections also while all its own of these are busy, so that no other one serves
    /// them.
    pub queues_apart: bool,
}

impl Setting {
    /// An option of a command line whose present value is not known.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scope: Scope::default(),
            sizes: None,
            present: None,
            is_seen: false,
            also: None,
            queues_apart: false,
        }
    }

    /// The option `name` of a server, which has its value as the setting `setting` if it is known.
    pub fn of(server: &Server, name: impl Into<String>, setting: &str) -> Self {
        let inferred = |one: &crate::model::Setting| one.name == setting && one.origin == Origin::Inferred;
        Self {
            present: server.number(setting).map(|value| value.to_string()),
            is_seen: server.settings.iter().any(inferred),
            ..Self::named(name)
        }
    }

    /// This setting, said to size something.
    pub fn sizing(mut self, what: Sizes) -> Self {
        self.sizes = Some(what);
        self
    }

    /// This setting, set somewhere else than on the command line.
    pub const fn at(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// This setting, of which each process has a queue of its own.
    pub const fn with_queues_apart(mut self) -> Self {
        self.queues_apart = true;
        self
    }

    /// This setting with another way to set it.
    pub fn or_as(mut self, also: impl Into<String>) -> Self {
        self.also = Some(also.into());
        self
    }

    /// This setting with its present value.
    pub fn now(mut self, present: impl ToString) -> Self {
        self.present = Some(present.to_string());
        self
    }
}

/// `--threads (now 4)`, `threads= (now 4; mod_wsgi-express: --threads)`, `--threads (seen: 6)`.
impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = if self.is_seen { "seen:" } else { "now" };
        let present = self.present.as_ref().map(|value| format!("{now} {value}"));
        let remarks: Vec<String> = present.into_iter().chain(self.also.clone()).collect();
        formatter.write_str(&self.name)?;
        if remarks.is_empty() { Ok(()) } else { write!(formatter, " ({})", remarks.join("; ")) }
    }
}

/// How far a setting is worth changing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// To the number of the host's cores.
    Cores,
}

impl Limit {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cores => "cores",
        }
    }
}

/// One change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is changed, with its present value.
    pub setting: Setting,
    /// Which way.
    pub direction: Direction,
    /// The value to set, where it is known.
    pub proposed: Option<String>,
    /// How far it is worth changing, where that is known.
    pub limit: Option<Limit>,
    /// The highest value that the server or the kernel takes, where that is known.
    pub at_most: Option<u64>,
    /// What it may make worse, a sentence without its period; its first letter is small.
    pub caveat: Option<&'static str>,
    /// Request time that would not have been with the value to set, in nanoseconds; `None`: not known.
    pub prevented_ns: Option<u64>,
    /// What it takes, each as a noun: memory, connections.
    pub costs: Vec<String>,
}

/// When a change is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// As soon as it is made.
    AtOnce,
    /// When the server reads its configuration again.
    Reload,
    /// When the server has been started again.
    Restart,
}

impl TakesEffect {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "at_once",
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
    }
}

/// A value to set, and what it would have prevented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The value.
    pub value: u64,
    /// Request time that would not have been, in nanoseconds.
    pub prevented_ns: u64,
}

impl Change {
    /// The change of a setting one way.
    pub const fn new(setting: Setting, direction: Direction) -> Self {
        Self {
            setting,
            direction,
            proposed: None,
            limit: None,
            at_most: None,
            caveat: None,
            prevented_ns: None,
            costs: Vec::new(),
        }
    }

    /// What it makes more or fewer of.
    pub fn moves(&self) -> Option<Move> {
        let what = self.setting.sizes?;
        match self.direction {
            Direction::Raise => Some(Move::up(what)),
            Direction::Lower => Some(Move::down(what)),
            Direction::Set | Direction::Remove => None,
        }
    }

    /// When it is in force. A queue is as long as it was made, so a limit of the kernel needs a restart, too.
    pub fn takes_effect(&self) -> TakesEffect {
        match self.setting.scope {
            Scope::Directive => TakesEffect::Reload,
            Scope::Service if self.setting.name == CPU_MAX => TakesEffect::AtOnce,
            Scope::CommandLine | Scope::Program | Scope::Sysctl | Scope::Service => TakesEffect::Restart,
        }
    }

    /// What undoes it (`--threads 4`); `None`: its present value is not known.
    pub fn undone_by(&self) -> Option<String> {
        let Setting { name, present, is_seen, .. } = &self.setting;
        match (self.direction, present) {
            (_, Some(present)) if !is_seen => {
                let between = if name.ends_with('=') { "" } else { " " };
                Some(format!("{name}{between}{present}"))
            }
            (Direction::Set, None) => Some(format!("leaving out {name}")),
            _ => None,
        }
    }
}
