//! Whether two runs can be compared, and why not.
//!
//! In: two [`Side`]s. Out: [`Doubt`]s, each a sentence; those that forbid a verdict about the whole come
//! first.

use std::collections::BTreeMap;

use serde::Serialize;

use super::side::Side;

/// Requests that each run must have for a verdict about the whole.
pub const MIN_REQUESTS: u64 = 30;
/// Greatest part of all requests that may go to other endpoints than in the other run.
pub const MAX_MIX_RATIO: f64 = 0.10;
/// How far rates may differ.
pub const MAX_RATE_FACTOR: f64 = 1.25;
/// How far the lengths of the windows may differ.
pub const MAX_WINDOW_FACTOR: f64 = 3.0;
/// Greatest part of requests whose beginning was not seen.
pub const MAX_TRUNCATED_RATIO: f64 = 0.02;

/// A reason why two runs are not, or not quite, comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// Name for programs.
    pub id: &'static str,
    /// No verdict about the whole is given.
    pub forbids_verdict: bool,
    /// Why, in a sentence.
    pub sentence: String,
}

/// All doubts.
pub fn doubts(a: &Side, b: &Side) -> Vec<Doubt> {
    let mut found = Vec::new();
    let mut doubt =
        |id, forbids_verdict, sentence: String| found.push(Doubt { id, forbids_verdict, sentence });
    for (name, side) in [("A", a), ("B", b)] {
        if !side.losses.is_complete {
            doubt(
                "losses",
                true,
                format!("{name} lost records: its numbers are too small by an unknown part"),
            );
        }
        if side.requests.completed < MIN_REQUESTS {
            doubt(
                "too-few",
                true,
                format!("{name} has {} requests, fewer than {MIN_REQUESTS}", side.requests.completed),
            );
        } else if side.requests.truncated as f64 > MAX_TRUNCATED_RATIO * side.requests.completed as f64 {
            let sentence = format!(
                "{name}: the beginning of {} of {} requests was not seen; a longer window has fewer of them",
                side.requests.truncated, side.requests.completed
            );
            doubt("truncated", false, sentence);
        }
    }
    let mix = mix_distance(a, b);
    if mix > MAX_MIX_RATIO {
        let sentence = format!(
            "different mix of endpoints: {:.0} % of the requests went elsewhere; look at each endpoint by itself",
            mix * 100.0
        );
        doubt("mix", true, sentence);
    }
    if let (Some(rate_a), Some(rate_b)) = (a.rate(), b.rate())
        && rate_a.min(rate_b) > 0.0
        && rate_a.max(rate_b) / rate_a.min(rate_b) > MAX_RATE_FACTOR
    {
        let sentence = format!(
            "different rate: {rate_a:.1} and {rate_b:.1} requests per second; waiting (accept queue, pool, loop, \
             GIL) depends on it"
        );
        doubt("rate", true, sentence);
    }
    let (length_a, length_b) = (a.window.length_ns as f64, b.window.length_ns as f64);
    if length_a.max(length_b) > MAX_WINDOW_FACTOR * length_a.min(length_b) {
        let sentence = format!(
            "windows of different length: {:.1} s and {:.1} s; what happens seldom may be in one only",
            length_a / 1e9,
            length_b / 1e9
        );
        doubt("window", false, sentence);
    }
    for (what, one, other) in
        [("host", &a.host.name, &b.host.name), ("kernel", &a.host.kernel_release, &b.host.kernel_release)]
    {
        if one != other {
            doubt("host", false, format!("different {what}: {one} and {other}"));
        }
    }
    if a.host.cpu_count != b.host.cpu_count {
        let sentence = format!("different number of CPUs: {} and {}", a.host.cpu_count, b.host.cpu_count);
        doubt("host", false, sentence);
    }
    if a.target.server.name != b.target.server.name {
        let sentence = format!("different servers: {} and {}", a.target.server.name, b.target.server.name);
        doubt("server", false, sentence);
    }
    found.sort_by_key(|doubt| !doubt.forbids_verdict);
    found
}

/// The part of all requests that would have to go to another endpoint for the mixes to be the same (total
/// variation). An endpoint counts with all its statuses: errors are a result, not a different load.
pub fn mix_distance(a: &Side, b: &Side) -> f64 {
    let shares = |side: &Side| {
        let mut shares: BTreeMap<String, f64> = BTreeMap::new();
        let all = side.requests_of_endpoints();
        for endpoint in &side.endpoints {
            let name = format!("{:?} {:?} {}", endpoint.method, endpoint.path_shape, endpoint.is_remainder);
            *shares.entry(name).or_default() += endpoint.count as f64 / all.max(1) as f64;
        }
        shares
    };
    let (one, other) = (shares(a), shares(b));
    let of = |shares: &BTreeMap<String, f64>, name: &str| shares.get(name).copied().unwrap_or(0.0);
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().map(|name| (of(&one, name) - of(&other, name)).abs()).sum::<f64>() / 2.0
}
