//! Problems that people reported in public about servers of Python, made small: what a report must say of
//! each, and the cure.
//!
//! In: the tables, one file for each kind of cause. Out: a [`Scene`], with the problem or cured, whose server
//! is there and whose clients have not begun; what is expected of the report, compared with what it says.

mod application;
mod collector;
mod elsewhere;
mod expected;
mod files;
mod interpreter;
mod slots;

use std::any::Any;
use std::time::{Duration, Instant};

use crate::child::until_each;
use crate::load::{Load, Sent};
use crate::named::Mark;
use crate::server::{Recipe, Server};
pub use expected::{Expected, Said, Whole};

/// Who has no answer so long after the clients' time is given up.
const AFTER: Duration = Duration::from_secs(2);

/// A problem.
#[derive(Clone, Copy, Debug)]
pub struct Reported {
    /// Its name, also of its recording.
    pub name: &'static str,
    /// What is wrong.
    pub about: &'static str,
    /// Where it was reported.
    pub source: &'static str,
    /// What the report must say as long as it is not cured.
    pub expected: Expected,
    /// The server, for who asks what it is.
    pub recipe: fn() -> Box<dyn Recipe>,
    /// Brings it about.
    pub begin: fn(State) -> anyhow::Result<Scene>,
}

impl Reported {
    /// Its recording, where there is one.
    pub fn recording(&self) -> std::path::PathBuf {
        crate::root().join("tests/recordings/reported").join(self.name).with_extension("wtrace")
    }
}

/// With the problem or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it was reported.
    Ill,
    /// The cure is applied; all else is the same.
    Cured,
}

impl State {
    /// One value or the other.
    pub fn choose<T>(self, ill: T, cured: T) -> T {
        match self {
            Self::Ill => ill,
            Self::Cured => cured,
        }
    }
}

/// Something that is done while the server is watched, or before.
type Act = Box<dyn FnOnce(&Server) -> anyhow::Result<()> + Send>;

/// A server with the problem, or cured.
pub struct Scene {
    /// The server.
    pub server: Server,
    /// What the report must name beside words that are always the same.
    pub marks: Vec<Mark>,
    before: Option<Act>,
    loads: Vec<Vec<String>>,
    act: Option<Act>,
    /// What must be there as long as the server is.
    _kept: Vec<Box<dyn Any + Send>>,
}

impl Scene {
    fn new(recipe: &dyn Recipe) -> anyhow::Result<Self> {
        let server = Server::start(recipe)?;
        Ok(Self { server, marks: Vec::new(), before: None, loads: Vec::new(), act: None, _kept: Vec::new() })
    }

    /// With clients, by options of `clients/load.py`.
    fn with_clients(mut self, options: &[&str]) -> Self {
        let first = format!("--first-id={}", (self.loads.len() + 1) * 100_000);
        let all = options.iter().map(|&option| option.to_owned());
        self.loads.push(all.chain([first]).collect());
        self
    }

    /// Who does something meanwhile.
    fn meanwhile(mut self, act: impl FnOnce(&Server) -> anyhow::Result<()> + Send + 'static) -> Self {
        self.act = Some(Box::new(act));
        self
    }

    /// What is done before anybody watches.
    fn before(mut self, act: impl FnOnce(&Server) -> anyhow::Result<()> + Send + 'static) -> Self {
        self.before = Some(Box::new(act));
        self
    }

    fn naming(mut self, mark: Mark) -> Self {
        self.marks.push(mark);
        self
    }

    fn keeping(mut self, kept: impl Any + Send) -> Self {
        self._kept.push(Box::new(kept));
        self
    }

    /// What must have happened before it is watched; once.
    ///
    /// # Errors
    ///
    /// Where that fails.
    pub fn prepare(&mut self) -> anyhow::Result<()> {
        self.before.take().map_or(Ok(()), |act| act(&self.server))
    }

    /// All that is to be watched; returns when it is over. What each group of clients saw; nothing of those
    /// whose last requests had no answer.
    ///
    /// # Errors
    ///
    /// Where clients cannot begin, or what is done meanwhile fails.
    pub fn happen(&mut self) -> anyhow::Result<Vec<Option<Sent>>> {
        let mut loads = Vec::new();
        for options in &self.loads {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            loads.push(Load::start(self.server.address(), &options)?);
        }
        let seconds = self.loads.iter().flatten().filter_map(|option| option.strip_prefix("--seconds="));
        let longest = seconds.filter_map(|seconds| seconds.parse::<f64>().ok()).fold(0.0, f64::max);
        let until = Instant::now() + Duration::from_secs_f64(longest) + AFTER;
        if let Some(act) = self.act.take() {
            act(&self.server)?;
        }
        let mut all = Vec::new();
        for mut load in loads {
            let left = until.saturating_duration_since(Instant::now());
            let ended = until_each("the clients", (left, Duration::from_millis(20)), || load.ended());
            all.push(match ended {
                Ok(_) => Some(load.finish()?),
                Err(_) => {
                    load.kill();
                    None
                }
            });
        }
        Ok(all)
    }
}

impl Drop for Scene {
    /// The server first: it has files open of what is kept.
    fn drop(&mut self) {
        self.server.kill();
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Reported> {
    files::REPORTED.iter().chain(elsewhere::REPORTED).chain(slots::REPORTED).chain(interpreter::REPORTED)
}

/// The one of this name.
pub fn named(name: &str) -> Option<&'static Reported> {
    all().find(|one| one.name == name)
}

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
