//! A server of any kind with one of the applications of `tests/apps/reported`.
//!
//! In: a recipe, the application's module, its environment. Out: the same recipe with that application, run
//! by another interpreter where one is named.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::environment;
use crate::server::{Place, Recipe};

/// Applications that recipes name.
const APPLICATIONS: [&str; 3] = ["demo_app:app", "witnessed:app", "fastapi_app:application"];

/// The server with the application.
pub(super) struct Application {
    server: Box<dyn Recipe>,
    module: &'static str,
    variables: Vec<(&'static str, String)>,
    without: &'static [&'static str],
    python: Option<PathBuf>,
    loads: Option<usize>,
}

impl Application {
    pub(super) fn new(server: impl Recipe + 'static, module: &'static str) -> Self {
        let server = Box::new(server);
        Self { server, module, variables: Vec::new(), without: &[], python: None, loads: None }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        // An application looks whether there is anything.
        if !value.is_empty() {
            self.variables.push((name, value.to_owned()));
        }
        self
    }

    /// Without these arguments, which the recipe has.
    pub(super) fn without(mut self, arguments: &'static [&'static str]) -> Self {
        self.without = arguments;
        self
    }

    /// In an environment of this name under `.tools`.
    pub(super) fn of(mut self, environment: &str) -> Self {
        self.python = Some(environment::program(environment, "python"));
        self
    }

    /// Loaded by so many processes before it is ready.
    pub(super) fn loaded(mut self, loads: usize) -> Self {
        self.loads = Some(loads);
        self
    }
}

impl Recipe for Application {
    fn name(&self) -> &'static str {
        self.server.name()
    }

    fn about(&self) -> String {
        format!("{}, {}", self.server.about(), self.module)
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let mut commands = self.server.commands(place)?;
        let first = commands.first_mut().context("no command")?;
        let mut command = match &self.python {
            Some(python) => Command::new(python),
            None => Command::new(first.get_program()),
        };
        for argument in first.get_args().filter(|argument| !self.without.iter().any(|one| argument == one)) {
            let application = APPLICATIONS.iter().find(|application| argument == **application);
            match application.and_then(|name| name.split_once(':')) {
                Some((_, object)) => command.arg(format!("reported.{}:{object}", self.module)),
                None => command.arg(argument),
            };
        }
        let variables = first.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(variables).envs(self.variables.iter().map(|(name, value)| (name, value)));
        *first = command;
        Ok(commands)
    }

    fn inner(&self) -> Option<&dyn Recipe> {
        Some(self.server.as_ref())
    }

    fn loads(&self) -> usize {
        self.loads.unwrap_or_else(|| self.server.loads())
    }

    fn slots(&self) -> Option<u64> {
        self.server.slots()
    }
}

/// The standard library's server in a script of `tests/apps/reported`.
pub(super) struct Script {
    pub(super) file: &'static str,
    pub(super) variables: Vec<(&'static str, &'static str)>,
}

impl Recipe for Script {
    fn name(&self) -> &'static str {
        "unknown"
    }

    fn about(&self) -> String {
        self.file.to_owned()
    }

    fn commands(&self, place: &Place) -> anyhow::Result<Vec<Command>> {
        let (host, port) = place.address.host_and_port();
        let mut command = Command::new(Place::servers_program("python"));
        command.arg(Place::apps().join("reported").join(self.file)).args([&host, &port]);
        command.envs(self.variables.iter().copied());
        Ok(vec![command])
    }

    fn slots(&self) -> Option<u64> {
        None
    }
}
