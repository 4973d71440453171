//! gunicorn's settings with where each is known from, and the worker class that follows from them.
//!
//! In: command line, environment, what else the processes show. Out: [`Setting`]s. The order of precedence is
//! gunicorn's: command line, `GUNICORN_CMD_ARGS`, configuration file (not read: it is a program),
//! `WEB_CONCURRENCY`, defaults. What a configuration file or a hidden command line may have set is left out
//! rather than guessed.

use super::arguments::Arguments;
use crate::model::{Origin, Setting};
use crate::server::setting::setting;

/// Defaults of 23.0.0 and 27.0.1, which agree on all of these. `bind` is taken from the sockets themselves.
const DEFAULTS: [(&str, &str); 11] = [
    ("workers", "1"),
    ("threads", "1"),
    ("worker_class", "sync"),
    ("keepalive", "2"),
    ("timeout", "30"),
    ("graceful_timeout", "30"),
    ("backlog", "2048"),
    ("worker_connections", "1000"),
    ("max_requests", "0"),
    ("reuse_port", "false"),
    ("preload_app", "false"),
];
/// Settings whose value is a number.
const NUMBERS: [&str; 9] = [
    "workers",
    "threads",
    "keepalive",
    "timeout",
    "graceful_timeout",
    "backlog",
    "worker_connections",
    "max_requests",
    "max_requests_jitter",
];

/// What is known of a gunicorn's configuration.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Its command line; `None`: hidden by the process title.
    pub(super) command_line: Option<Arguments>,
    /// `GUNICORN_CMD_ARGS`.
    pub(super) environment: Arguments,
    /// `WEB_CONCURRENCY`.
    pub(super) web_concurrency: Option<String>,
    /// The environment could be looked at.
    pub(super) environment_seen: bool,
    /// Configuration file read without being named.
    pub(super) default_configuration: Option<String>,
}

/// The settings that these sources give.
pub(super) fn resolve(sources: &Sources) -> Vec<Setting> {
    let mut settings = Vec::new();
    let given = |name: &str| {
        let usable = |value: &&str| !NUMBERS.contains(&name) || value.trim().parse::<u64>().is_ok();
        let from_line = sources.command_line.as_ref().and_then(|arguments| arguments.value(name));
        from_line
            .or_else(|| sources.environment.value(name))
            .filter(usable)
            .map(|value| value.trim().to_owned())
    };
    let configuration = given("config").or_else(|| sources.default_configuration.clone());
    // Only when nothing else can have spoken is a default known to hold.
    let defaults_hold = configuration.is_none() && sources.command_line.is_some() && sources.environment_seen;
    for (name, default) in DEFAULTS {
        if let Some(value) = given(name) {
            settings.push(setting(name, value, Origin::Configured));
        } else if name == "workers" && defaults_hold && web_concurrency(sources).is_some() {
            let value = web_concurrency(sources).unwrap_or_default();
            settings.push(setting(name, value, Origin::Configured));
        } else if defaults_hold {
            settings.push(setting(name, default.to_owned(), Origin::Default));
        }
    }
    if let Some(value) = given("max_requests_jitter") {
        settings.push(setting("max_requests_jitter", value, Origin::Configured));
    }
    effective_class(&mut settings);
    let binds: Vec<&str> = [sources.command_line.as_ref(), Some(&sources.environment)]
        .into_iter()
        .flatten()
        .map(|arguments| arguments.values("bind").collect::<Vec<_>>())
        .find(|values| !values.is_empty())
        .unwrap_or_default();
    if !binds.is_empty() {
        settings.push(setting("bind", binds.join(", "), Origin::Configured));
    }
    if let Some(file) = configuration {
        settings.push(setting("config", format!("{file} (not read)"), Origin::Configured));
    }
    if let Some(application) = sources.command_line.as_ref().and_then(|line| line.positional.first().cloned())
    {
        settings.push(setting("wsgi_app", application, Origin::Configured));
    }
    settings
}

fn web_concurrency(sources: &Sources) -> Option<String> {
    sources.web_concurrency.as_ref().filter(|value| value.parse::<u32>().is_ok()).cloned()
}

/// Short name of the class; more than one thread makes a gthread worker of a sync one, as gunicorn does.
fn effective_class(settings: &mut [Setting]) {
    let threads = settings.iter().find(|setting| setting.name == "threads").cloned();
    let Some(class) = settings.iter_mut().find(|setting| setting.name == "worker_class") else { return };
    class.value = short_class(&class.value).to_owned();
    let many = threads.filter(|threads| threads.value.parse::<u64>().is_ok_and(|count| count > 1));
    if let Some(threads) = many
        && class.value == "sync"
    {
        class.value = "gthread".to_owned();
        class.origin = threads.origin;
    }
}

/// gunicorn's own name for a class given by its path; other classes keep their path.
fn short_class(class: &str) -> &str {
    let last = class.rsplit(['.', '#', ':']).next().unwrap_or(class);
    match last {
        "sync" | "SyncWorker" => "sync",
        "gthread" | "ThreadWorker" => "gthread",
        "gevent" | "GeventWorker" => "gevent",
        "gevent_wsgi" | "gevent_pywsgi" | "GeventPyWSGIWorker" => "gevent_pywsgi",
        "eventlet" | "EventletWorker" => "eventlet",
        "tornado" | "TornadoWorker" => "tornado",
        "asgi" | "ASGIWorker" => "asgi",
        _ => class,
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::{read, read_environment};
    use super::*;

    fn sources(line: &str) -> Sources {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Sources { command_line: Some(read(&words)), environment_seen: true, ..Sources::default() }
    }

    fn of<'a>(settings: &'a [Setting], name: &str) -> Option<(&'a str, Origin)> {
        settings
            .iter()
            .find(|setting| setting.name == name)
            .map(|setting| (setting.value.as_str(), setting.origin))
    }

    #[test]
    fn a_bare_command_line_gives_the_documented_defaults() {
        let settings = resolve(&sources("app:app"));
        assert_eq!(of(&settings, "workers"), Some(("1", Origin::Default)));
        assert_eq!(of(&settings, "worker_class"), Some(("sync", Origin::Default)));
        assert_eq!(of(&settings, "keepalive"), Some(("2", Origin::Default)));
        assert_eq!(of(&settings, "config"), None);
    }

    #[test]
    fn threads_make_a_sync_worker_gthread_but_leave_other_classes_alone() {
        assert_eq!(
            of(&resolve(&sources("--threads 4 a:b")), "worker_class"),
            Some(("gthread", Origin::Configured))
        );
        assert_eq!(
            of(&resolve(&sources("--threads 1 a:b")), "worker_class"),
            Some(("sync", Origin::Default))
        );
        let gevent = resolve(&sources("-k gevent --threads 4 a:b"));
        assert_eq!(of(&gevent, "worker_class"), Some(("gevent", Origin::Configured)));
        let by_path = resolve(&sources("-k gunicorn.workers.sync.SyncWorker --threads 2 a:b"));
        assert_eq!(of(&by_path, "worker_class"), Some(("gthread", Origin::Configured)));
        let foreign = resolve(&sources("-k uvicorn.workers.UvicornWorker a:b"));
        assert_eq!(of(&foreign, "worker_class"), Some(("uvicorn.workers.UvicornWorker", Origin::Configured)));
    }

    #[test]
    fn command_line_beats_environment_beats_web_concurrency() {
        let mut all = sources("-w 2 a:b");
        all.environment = read_environment("--workers 3 --threads 5");
        all.web_concurrency = Some("4".into());
        assert_eq!(of(&resolve(&all), "workers"), Some(("2", Origin::Configured)));
        assert_eq!(of(&resolve(&all), "threads"), Some(("5", Origin::Configured)));
        all.command_line = sources("a:b").command_line;
        assert_eq!(of(&resolve(&all), "workers"), Some(("3", Origin::Configured)));
        all.environment = Arguments::default();
        assert_eq!(of(&resolve(&all), "workers"), Some(("4", Origin::Configured)));
    }

    #[test]
    fn a_configuration_file_leaves_what_it_may_have_set_unknown_instead_of_default() {
        let settings = resolve(&sources("-c conf.py --threads 4 a:b"));
        assert_eq!(of(&settings, "config"), Some(("conf.py (not read)", Origin::Configured)));
        assert_eq!(of(&settings, "threads"), Some(("4", Origin::Configured)));
        assert_eq!(of(&settings, "workers"), None);
        assert_eq!(of(&settings, "worker_class"), None);
        let mut by_default = sources("a:b");
        by_default.default_configuration = Some("gunicorn.conf.py".into());
        by_default.web_concurrency = Some("4".into());
        assert_eq!(of(&resolve(&by_default), "workers"), None);
    }

    #[test]
    fn a_hidden_command_line_claims_no_defaults_but_the_environment_still_counts() {
        let mut hidden = Sources { command_line: None, ..Sources::default() };
        hidden.environment = read_environment("--workers 3");
        let settings = resolve(&hidden);
        assert_eq!(of(&settings, "workers"), Some(("3", Origin::Configured)));
        assert_eq!(of(&settings, "timeout"), None);
    }

    #[test]
    fn an_environment_that_may_not_be_looked_at_claims_no_defaults() {
        let mut unseen = sources("--threads 4 a:b");
        unseen.environment_seen = false;
        let settings = resolve(&unseen);
        assert_eq!(of(&settings, "threads"), Some(("4", Origin::Configured)));
        assert_eq!(of(&settings, "workers"), None);
    }

    #[test]
    fn a_number_that_is_none_is_not_reported_as_configured() {
        let settings = resolve(&sources("-w many a:b"));
        assert_eq!(of(&settings, "workers"), Some(("1", Origin::Default)));
    }
}
