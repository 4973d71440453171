//! A moment for people: what is the same for several threads is said once.
//!
//! In: a [`Moment`]. Out: lines, the longest wait first.

use super::moment::{Asked, Busy, Moment, Work};
use crate::report::escape;
use crate::report::style::{Role, Style};
use crate::report::{chain_words, unit};

/// Columns of a line: paths and lines of code are long.
const COLUMNS: usize = 160;
/// Groups of threads, and of requests, that are shown.
const MAX_GROUPS: usize = 40;
/// Threads that are named in a group.
const MAX_NAMED: usize = 8;

/// The text.
pub fn text(moment: &Moment, style: Style) -> String {
    let mut lines = vec![escape::line(&moment.server, COLUMNS, style.charset), counted(moment)];
    if !moment.verdict.is_empty() {
        lines.push(style.paint(Role::Strong, &escape::line(&moment.verdict, 4 * COLUMNS, style.charset)));
    }
    let groups = groups(moment);
    for group in groups.iter().take(MAX_GROUPS) {
        lines.push(String::new());
        lines.extend(said(group, style));
    }
    if groups.len() > MAX_GROUPS {
        lines.push(format!("and {} more", unit::count((groups.len() - MAX_GROUPS) as u64)));
    }
    lines.extend(waiting(moment, style));
    lines.push(String::new());
    lines.join("\n")
}

/// How many are at requests, of how many; what waits.
fn counted(moment: &Moment) -> String {
    let serve = moment.threads.iter().filter(|busy| busy.work != Work::Beside).count();
    let noun = if moment.noun.is_empty() { "slot" } else { moment.noun };
    let mut said = match moment.configured {
        Some(slots) => format!(
            "{} of {} {} at a request",
            unit::count(serve as u64),
            unit::counted(u64::from(slots), noun),
            if serve == 1 { "is" } else { "are" }
        ),
        None => format!("{} at a request", unit::counted(serve as u64, "thread")),
    };
    if let Some(queued) = moment.queued {
        said.push_str(&format!("; {} to be accepted", waits(queued, "connection")));
    }
    let requests = moment.unread.count.saturating_add(moment.waiting.len() as u64);
    if requests > 0 {
        said.push_str(&format!("; {} without a thread", waits(requests, "request")));
    }
    format!("{said}.")
}

fn waits(number: u64, noun: &str) -> String {
    format!("{} {}", unit::counted(number, noun), if number == 1 { "waits" } else { "wait" })
}

/// Threads that are at the same.
struct Group<'a> {
    key: (String, String, Option<String>),
    threads: Vec<&'a Busy>,
}

fn groups(moment: &Moment) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for busy in &moment.threads {
        let at = busy.place.as_ref().map(at);
        let key = (of_work(&busy.work), busy.what.clone(), at);
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => group.threads.push(busy),
            None => groups.push(Group { key, threads: vec![busy] }),
        }
    }
    groups
}

/// The application's own lines, or else the innermost.
fn at(place: &profiler_core::fact::place::PlaceSeen) -> String {
    let innermost = || place.frames.first().map(chain_words::frame_line).unwrap_or_default();
    chain_words::own_lines_at(place).unwrap_or_else(innermost)
}

fn of_work(work: &Work) -> String {
    match work {
        Work::Request(asked) => name(asked),
        Work::Before => "a request from before, its head not seen".to_owned(),
        Work::Some => "a request, not known which".to_owned(),
        Work::Beside => "no request".to_owned(),
    }
}

fn name(asked: &Asked) -> String {
    match asked.method.as_str() {
        "" => "a request, its head not read".to_owned(),
        method => format!("{method} {}", asked.path),
    }
}

fn said(group: &Group<'_>, style: Style) -> Vec<String> {
    let charset = style.charset;
    let (work, what, at) = &group.key;
    let Some(first) = group.threads.first() else { return Vec::new() };
    let duration = |ns| unit::duration(ns, charset);
    let longest_ns = group.threads.iter().filter_map(|busy| busy.asked()).map(|asked| asked.for_ns).max();
    let age = longest_ns.map(|ns| format!(", for {}", duration(ns))).unwrap_or_default();
    let number = unit::counted(group.threads.len() as u64, "thread");
    let head = escape::line(&format!("{number}: {work}{age}"), COLUMNS, charset);
    let slept = match (first.since_before, group.threads.iter().filter_map(|busy| busy.slept_ns).max()) {
        (true, Some(ns)) => format!(", for {} at least", duration(ns)),
        (true, None) => ", since before it was watched".to_owned(),
        (false, Some(ns)) => format!(", for {}", duration(ns)),
        (false, None) => String::new(),
    };
    let call = first.call.map(|call| format!(" ({call})")).unwrap_or_default();
    let mut lines = vec![style.paint(Role::Strong, &head)];
    let mut push = |text: String| lines.push(escape::line(&format!("    {text}"), COLUMNS, charset));
    push(format!("{what}{call}{slept}"));
    match at {
        Some(at) => push(format!("at {at}")),
        None => push("at a line that is not known".to_owned()),
    }
    if let Some(chain) = &first.chain {
        push(format!("in the end {chain}"));
    }
    let named: Vec<String> =
        group.threads.iter().take(MAX_NAMED).map(|busy| format!("{}/{}", busy.tgid, busy.tid)).collect();
    let further = group.threads.len().saturating_sub(MAX_NAMED);
    let further = if further > 0 { format!(" and {further} more") } else { String::new() };
    push(format!("process/thread {}{further}", named.join(" ")));
    lines
}

/// Requests that no thread is at, by what they ask.
fn waiting(moment: &Moment, style: Style) -> Vec<String> {
    let mut of_name: Vec<(String, u64, u64)> = Vec::new();
    for asked in &moment.waiting {
        let name = name(asked);
        match of_name.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, number, longest_ns)) => {
                *number += 1;
                *longest_ns = asked.for_ns.max(*longest_ns);
            }
            None => of_name.push((name, 1, asked.for_ns)),
        }
    }
    if moment.unread.count > 0 {
        of_name.push(("not read yet".to_owned(), moment.unread.count, moment.unread.longest_ns));
    }
    if of_name.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), style.paint(Role::Strong, "Requests that no thread is at")];
    for (name, number, longest_ns) in of_name.iter().take(MAX_GROUPS) {
        let mut longest = unit::duration(*longest_ns, style.charset);
        if *longest_ns >= moment.watched_ns {
            longest.push_str(" at least");
        }
        let text = format!("    {} {name}, the oldest for {longest}", unit::count(*number));
        lines.push(escape::line(&text, COLUMNS, style.charset));
    }
    lines
}
