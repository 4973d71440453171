//! What else is there, and is not to be accused.
//!
//! In: a source of random numbers, the leaf, the kind of server. Out: [`Decoy`].

use fastrand::Rng;
use profiler_core::model::chain::LeafKind;
use serde_json::{Map, Value, json};
use wsgi_trace_test_support::notes::DECOY;

use crate::draw::pick;
use crate::leaf::Leaf;
use crate::server::ServerKind;

/// Of so many requests one fails.
const ERRORS_EVERY: u32 = 50;
/// How long clients wait that leave, in seconds.
const PATIENCE: &str = "--timeout=0.06";
/// Numbers of their requests begin here.
const FIRST_OF_LEAVERS: u32 = 5_000_001;

/// A kind of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoy {
    Nothing,
    /// Another route, each third request, has a leaf of its own.
    Leaf,
    /// A client that does not wait for its answers.
    Leavers,
    /// Some requests are answered with 500.
    Errors,
    /// Connections on which nothing comes.
    Silent,
    /// Another process computes.
    Neighbour,
}

impl Decoy {
    /// One that fits.
    pub(crate) fn drawn(rng: &mut Rng, leaf: Leaf, server: ServerKind) -> Self {
        let all = [Self::Leaf, Self::Leavers, Self::Errors, Self::Silent, Self::Neighbour];
        let fits = |decoy: &Self| match decoy {
            // A server that reads a connection's head in a slot waits for it there: that is no decoy.
            // gunicorn 27's gthread does: twice as many threads answered four times as many (584822).
            Self::Silent => matches!(
                server,
                ServerKind::Waitress
                    | ServerKind::WaitressInScript
                    | ServerKind::Twisted
                    | ServerKind::A2wsgi
                    | ServerKind::Gevent
            ),
            Self::Neighbour => !leaf.computes(),
            // Who is accused of a healthy server's failures would be so rightly.
            Self::Leaf | Self::Leavers | Self::Errors => leaf.has_path(),
            Self::Nothing => true,
        };
        let fitting: Vec<Self> = all.into_iter().filter(fits).collect();
        if rng.bool() { Self::Nothing } else { pick(rng, Self::Nothing, &fitting) }
    }

    /// The leaf of its route: a quarter as long.
    fn leaf(leaf: Leaf, leaf_ms: u32) -> (LeafKind, Value) {
        let milliseconds = (leaf_ms / 4).max(10);
        match leaf {
            Leaf::Sleep => (LeafKind::Child, json!(["child", milliseconds])),
            _ => (LeafKind::Sleep, json!(["sleep", milliseconds])),
        }
    }

    /// The kind of leaf that it adds.
    pub(crate) fn kind(self, of: Leaf) -> Option<LeafKind> {
        (self == Self::Leaf).then(|| Self::leaf(of, 0).0)
    }

    /// Adds to the application's plan, in which `route` is free.
    pub(crate) fn plan(self, (leaf, leaf_ms): (Leaf, u32), route: &str, plan: &mut Map<String, Value>) {
        match self {
            Self::Leaf => {
                let (_, leaf) = Self::leaf(leaf, leaf_ms);
                let own = json!({"hops": [], "leaf": leaf, "step": DECOY});
                if let Some(routes) = plan.get_mut("routes").and_then(Value::as_object_mut) {
                    routes.insert(route.to_owned(), own);
                }
            }
            Self::Errors => {
                plan.insert("errors_every".to_owned(), json!(ERRORS_EVERY));
            }
            Self::Nothing | Self::Leavers | Self::Silent | Self::Neighbour => {}
        }
    }

    /// The clients' options, who ask for `route` and may ask for the other.
    pub(crate) fn options(self, route: &str, other: &str) -> Vec<String> {
        match self {
            Self::Leaf => vec![format!("--routes=/{route}=2,/{other}=1")],
            Self::Silent => {
                vec![format!("--routes=/{route}"), "--idle=3".to_owned(), "--idle-seconds=2".to_owned()]
            }
            _ => vec![format!("--routes=/{route}")],
        }
    }

    /// Options of further clients, beside the number of seconds.
    pub(crate) fn further(self, route: &str) -> Option<Vec<String>> {
        let options = || {
            let first = format!("--first-id={FIRST_OF_LEAVERS}");
            let all = ["--clients=1", "--think-ms=150", PATIENCE, &first];
            all.iter().map(|&one| one.to_owned()).chain([format!("--routes=/{route}")]).collect()
        };
        (self == Self::Leavers).then(options)
    }

    /// In words.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Leaf => "; another route has a leaf",
            Self::Leavers => "; a client leaves",
            Self::Errors => "; 2 % of 500",
            Self::Silent => "; 3 silent connections",
            Self::Neighbour => "; a busy neighbour",
        }
    }
}
