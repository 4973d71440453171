//! What a person reads of one run: a line while all go on, its figures where it is run alone.
//!
//! In: a record. Out: text.

use std::fmt::Write as _;

use crate::record::{Figures, Record};

/// One line.
pub(crate) fn line(record: &Record) -> String {
    let Record { seed, mix, verdict, why, applied, seconds, .. } = record;
    let applied = applied
        .as_ref()
        .map_or_else(String::new, |applied| format!(", {} → {}", applied.finding, applied.setup));
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
    format!("seed {seed}, {mix}: {}{applied}{why}, {seconds:.0} s", verdict.word())
}

/// The clients' options, what was not applied and why, and each watch.
pub(crate) fn figures(record: &Record) -> String {
    let mut text = String::new();
    for options in &record.clients {
        let _ = writeln!(text, "clients  load.py {}", options.join(" "));
    }
    for one in &record.not_applied {
        let _ = writeln!(text, "advice on {} is not applied: {}", one.finding, one.why);
    }
    for (name, all) in [("before", &record.before), ("after", &record.after)] {
        for one in all {
            let _ = writeln!(text, "{name:<8} {}", of_watch(one));
        }
    }
    text
}

fn of_watch(figures: &Figures) -> String {
    let Figures { per_second, p99_ms, failed, endpoints, findings, .. } = figures;
    let mut text = format!("{per_second:.1} answers a second, p99 {p99_ms:.1} ms, {failed} failed");
    for (name, endpoint) in endpoints {
        let p99 = endpoint.p99_ms.map_or_else(|| "no answer".to_owned(), |p99_ms| format!("{p99_ms:.1} ms"));
        let _ = write!(text, "; {name}: {} requests, p99 {p99}", endpoint.requests);
    }
    for (id, said) in findings {
        let _ = write!(text, "; {id} {}, costs {:.2}", said.answer, said.cost);
    }
    text
}

#[cfg(test)]
mod tests {
    use wsgi_trace_lab::advised::watched::Endpoint;

    use super::*;
    use crate::record::Said;

    #[test]
    fn a_watch_is_told_with_its_endpoints_and_findings() {
        let figures = Figures {
            findings: [("herd".to_owned(), Said { answer: "present".to_owned(), cost: 1.5 })].into(),
            per_second: 20.0,
            p99_ms: 3.0,
            failed: 1,
            endpoints: [("/fast".to_owned(), Endpoint { requests: 81, p99_ms: None })].into(),
            stolen_ratio: 0.0,
        };
        assert_eq!(
            of_watch(&figures),
            "20.0 answers a second, p99 3.0 ms, 1 failed; /fast: 81 requests, p99 no answer; herd present, costs 1.50"
        );
    }
}
