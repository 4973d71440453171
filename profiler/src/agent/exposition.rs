//! The two text formats of metrics, and which of them a client wants.
//!
//! In: OpenMetrics text. Out: the same in Prometheus' own older text format (0.0.4), for whatever does not
//! ask for OpenMetrics: browsers, curl, promtool. The two differ in a few lines of description alone.

use std::borrow::Cow;

/// Content type of OpenMetrics text.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Content type of the older text.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a client that sends this `Accept` wants OpenMetrics.
pub fn wants_openmetrics(accept: Option<&str>) -> bool {
    accept.is_some_and(|accept| accept.contains("application/openmetrics-text"))
}

/// OpenMetrics as the older text: the description of a counter names its sample, an info is a gauge, and
/// neither units nor an end are marked.
pub fn plain(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        let Some(rest) = line.strip_prefix("# TYPE ") else {
            if !line.starts_with('#') {
                text.push_str(line);
                text.push('\n');
            }
            continue;
        };
        let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
        let (name, kind) = match kind {
            "counter" => (Cow::Owned(format!("{name}_total")), kind),
            "info" => (Cow::Owned(format!("{name}_info")), "gauge"),
            _ => (Cow::Borrowed(name), kind),
        };
        if let Some((_, said)) = help.take() {
            text.push_str(&format!("# HELP {name} {said}\n"));
        }
        text.push_str(&format!("# TYPE {name} {kind}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_text_describes_the_samples_that_follow() {
        let openmetrics = "# HELP a_requests Requests.\n# TYPE a_requests counter\n\
            a_requests_total{path=\"# x\"} 1\n# HELP a_wait_seconds Wait.\n# TYPE a_wait_seconds gauge\n\
            # UNIT a_wait_seconds seconds\na_wait_seconds 0.5\n# HELP a_build Build.\n# TYPE a_build info\n\
            a_build_info{v=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_requests_total Requests.\n# TYPE a_requests_total counter\n\
            a_requests_total{path=\"# x\"} 1\n# HELP a_wait_seconds Wait.\n# TYPE a_wait_seconds gauge\n\
            a_wait_seconds 0.5\n# HELP a_build_info Build.\n# TYPE a_build_info gauge\na_build_info{v=\"1\"} 1\n";
        assert_eq!(plain(openmetrics), expected);
    }

    #[test]
    fn scraper_that_knows_openmetrics_gets_it_and_a_browser_does_not() {
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert!(wants_openmetrics(Some(prometheus)));
        assert!(!wants_openmetrics(Some("text/html,*/*;q=0.8")));
        assert!(!wants_openmetrics(None));
    }
}
