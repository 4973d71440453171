//! No advice names an option that its server does not have.
//!
//! In: `server/catalogue/*.txt`, made from the servers themselves by `xtask/options.py`; every piece of
//! advice, for every version there. Out: verdicts.

use super::RULES;
use crate::model::{Origin, Server, Setting};
use crate::server::advice::{Advice, Scope};
use crate::server::{KINDS, ServerKind, backlog, site::Site};

/// Options by server.
const CATALOGUE: [(&str, &str); 10] = [
    ("gunicorn", include_str!("../server/catalogue/gunicorn.txt")),
    ("mod_wsgi", include_str!("../server/catalogue/mod_wsgi.txt")),
    ("uwsgi", include_str!("../server/catalogue/uwsgi.txt")),
    ("waitress", include_str!("../server/catalogue/waitress.txt")),
    ("cheroot", include_str!("../server/catalogue/cheroot.txt")),
    ("cherrypy", include_str!("../server/catalogue/cherrypy.txt")),
    ("uvicorn", include_str!("../server/catalogue/uvicorn.txt")),
    ("hypercorn", include_str!("../server/catalogue/hypercorn.txt")),
    ("daphne", include_str!("../server/catalogue/daphne.txt")),
    ("twisted", include_str!("../server/catalogue/twisted.txt")),
];

/// What every server that runs within Apache has besides.
const APACHE: &str = include_str!("../server/catalogue/apache.txt");

/// What the keywords are of that advice names for programs: of the server itself, or of a library that it
/// runs applications with.
const KEYWORDS: [(&str, &[&str]); 6] = [
    ("cherrypy", &[include_str!("../server/catalogue/cherrypy.txt")]),
    (
        "daphne",
        &[include_str!("../server/catalogue/python.txt"), include_str!("../server/catalogue/twisted.txt")],
    ),
    ("gevent", &[include_str!("../server/catalogue/gevent.txt")]),
    (
        "hypercorn",
        &[include_str!("../server/catalogue/python.txt"), include_str!("../server/catalogue/trio.txt")],
    ),
    ("twisted", &[include_str!("../server/catalogue/twisted.txt")]),
    (
        "uvicorn",
        &[include_str!("../server/catalogue/a2wsgi.txt"), include_str!("../server/catalogue/anyio.txt")],
    ),
];

/// Cases of findings, of which a server may have advice of its own.
const CASES: [&str; 6] = [
    "idle-connections/acceptor",
    "loop-blocked/computing",
    "more-slots",
    "more-slots/one-worker",
    "more-slots/pool",
    "slow-file/heartbeat",
];

/// Kinds of worker, of whatever server.
const CLASSES: [&str; 8] = [
    "sync",
    "gthread",
    "gevent",
    "eventlet",
    "tornado",
    "uvicorn.workers.UvicornWorker",
    "daemon",
    "embedded",
];

/// What one server has, by version.
struct Options {
    versions: Vec<&'static str>,
    /// Each with the versions that have it.
    list: Vec<(&'static str, Vec<&'static str>)>,
}

impl Options {
    fn of(text: &'static str) -> Self {
        let versions = text.lines().find_map(|line| line.strip_prefix("# versions: ")).expect("versions");
        let entry = |line: &'static str| {
            let mut words = line.split(' ');
            Some((words.next().filter(|name| !name.is_empty())?, words.collect()))
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self { versions: versions.split(' ').collect(), list: lines.filter_map(entry).collect() }
    }

    fn has(&self, name: &str, version: &str) -> bool {
        let of_it = |versions: &[&str]| versions.contains(&"all") || versions.contains(&version);
        self.list.iter().any(|(known, versions)| *known == name && of_it(versions))
    }
}

/// The flags in a text: `--threads`, whatever stands around them.
fn flags(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
        .filter(|word| word.starts_with("--"))
}

/// Everything that this piece of advice says exists, as far as it is the server's own.
fn named(advice: &Advice) -> Vec<String> {
    let own = |scope: Scope| matches!(scope, Scope::CommandLine | Scope::Directive);
    let all = advice.changes();
    let changed = all
        .into_iter()
        .filter(|change| own(change.setting.scope))
        .map(|change| first_word(&change.setting.name));
    let text = advice.to_string();
    let in_prose: Vec<String> = flags(&text).map(str::to_owned).collect();
    changed.chain(in_prose).collect()
}

/// `listen-backlog= of WSGIDaemonProcess` without what it is a parameter of.
fn first_word(name: &str) -> String {
    name.split(' ').next().unwrap_or_default().to_owned()
}

/// All advice of a kind for one server at any site.
fn all_advice(kind: &dyn ServerKind, server: &Server) -> Vec<(String, Advice)> {
    let sites = [
        Site::default(),
        Site { own_tcp: true, somaxconn: Some(128), workers: 2, ..Site::default() },
        Site { own_tcp: true, somaxconn: Some(4096), workers: 8, ..Site::default() },
        Site { is_shared: true, workers: 1, ..Site::default() },
    ];
    let mut all = Vec::new();
    for site in &sites {
        for id in RULES.iter().map(|rule| rule.id).chain(CASES) {
            all.extend(kind.advice(id, server, site).map(|advice| (id.to_owned(), advice)));
        }
        for is_unix in [false, true] {
            let advice = backlog::advice(kind, server, site, is_unix);
            all.extend(advice.map(|advice| (format!("backlog, over UNIX: {is_unix}"), advice)));
        }
    }
    all
}

/// The server with settings that some of its advice rests on, and without.
fn servers(kind: &dyn ServerKind, version: &str, class: &str) -> [Server; 2] {
    let bare = Server {
        name: kind.name().to_owned(),
        version: Some(version.to_owned()),
        worker_class: class.to_owned(),
        ..Server::default()
    };
    let setting =
        |name: &str| Setting { name: name.to_owned(), value: "2".to_owned(), origin: Origin::Configured };
    let names = [
        "workers",
        "threads",
        "processes",
        "cheaper",
        "http",
        "http_socket",
        "backlog",
        "listen",
        "connection_limit",
        "wsgi_app",
        "interface",
    ];
    let full = Server { settings: names.map(setting).to_vec(), ..bare.clone() };
    [bare, full]
}

#[test]
fn no_advice_names_an_option_that_this_version_of_the_server_does_not_have() {
    let mut missing = Vec::new();
    let mut checked = 0;
    let apache = Options::of(APACHE);
    for (name, text) in CATALOGUE {
        let kind = KINDS.iter().find(|kind| kind.name() == name).expect(name);
        let options = Options::of(text);
        assert!(options.list.len() > 5, "{name} has no options");
        for version in &options.versions {
            for server in CLASSES.iter().flat_map(|class| servers(*kind, version, class)) {
                for (id, advice) in all_advice(*kind, &server) {
                    for option in named(&advice) {
                        checked += 1;
                        // An option to come is named with the version that has it.
                        let said =
                            |later: &&&str| advice.to_string().contains(&format!("{name} {}", major(later)));
                        let exists = options.has(&option, version)
                            || name == "mod_wsgi"
                                && apache.versions.iter().any(|version| apache.has(&option, version))
                            || options.versions.iter().filter(said).any(|later| options.has(&option, later));
                        if !exists {
                            missing.push(format!("{name} {version} {}: {id}: {option}", server.worker_class));
                        }
                    }
                }
            }
        }
    }
    missing.sort_unstable();
    missing.dedup();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(checked > 1_000, "{checked} options checked");
}

#[test]
fn no_advice_names_a_keyword_that_its_library_does_not_have() {
    let mut checked = 0;
    for kind in KINDS {
        let known = KEYWORDS.iter().find(|(name, _)| *name == kind.name());
        let catalogues: Vec<Options> =
            known.iter().flat_map(|(_, texts)| *texts).map(|text| Options::of(text)).collect();
        let classes = CLASSES.into_iter().chain(["trio", "asyncio"]);
        for server in classes.flat_map(|class| servers(*kind, "1.0", class)) {
            for (id, advice) in all_advice(*kind, &server) {
                for change in advice.changes().into_iter().filter(|one| one.setting.scope == Scope::Program) {
                    checked += 1;
                    let name = first_word(&change.setting.name);
                    let name = name.trim_end_matches('=');
                    let exists = |options: &Options| options.list.iter().any(|(known, _)| *known == name);
                    assert!(catalogues.iter().any(exists), "{}: {id}: {name}", kind.name());
                }
            }
        }
    }
    assert!(checked > 100, "{checked} keywords checked");
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

#[test]
fn a_catalogue_says_which_versions_have_an_option() {
    let options = Options::of("# x: options\n# versions: 1.0 2.0\n--old 1.0\n--both all\n");
    assert!(options.has("--old", "1.0") && !options.has("--old", "2.0"));
    assert!(options.has("--both", "2.0") && !options.has("--none", "2.0"));
    assert_eq!(
        flags("raise --threads (now 4), or mod_wsgi-express: --max-clients.").collect::<Vec<_>>(),
        ["--threads", "--max-clients"]
    );
}
