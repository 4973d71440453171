//! Metrics of several servers as one text.
//!
//! In: OpenMetrics text of each, and the labels that its samples get. Out: one text in which each family is
//! described once. A sample is one line, and a value in quotation marks has no line break.

use std::collections::BTreeMap;

/// A family: how it is described, and its samples.
#[derive(Default)]
struct Family {
    described: String,
    samples: String,
}

/// All of them as one text. A label's value may hold anything.
pub fn merge<'a>(parts: impl IntoIterator<Item = (&'a [(&'static str, String)], &'a str)>) -> String {
    let mut order: Vec<String> = Vec::new();
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for (labels, text) in parts {
        let labels = written(labels);
        let mut name = String::new();
        for line in text.lines().filter(|line| *line != "# EOF") {
            let described = line.strip_prefix("# ").and_then(|rest| rest.split(' ').nth(1));
            if let Some(of) = described {
                of.clone_into(&mut name);
            }
            if !families.contains_key(&name) {
                order.push(name.clone());
            }
            let family = families.entry(name.clone()).or_default();
            if described.is_none() {
                sample(&mut family.samples, line, &labels);
            } else if !family.described.contains(line) {
                family.described.push_str(line);
                family.described.push('\n');
            }
        }
    }
    let mut text = String::new();
    for family in order.iter().filter_map(|name| families.get(name)) {
        text.push_str(&family.described);
        text.push_str(&family.samples);
    }
    text.push_str("# EOF\n");
    text
}

/// A sample's line, with labels more.
fn sample(text: &mut String, line: &str, labels: &str) {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    text.push_str(name);
    match rest.strip_prefix('{') {
        _ if labels.is_empty() => text.push_str(rest),
        Some(behind) => {
            let comma = if behind.starts_with('}') { "" } else { "," };
            text.push_str(&format!("{{{labels}{comma}{behind}"));
        }
        None => text.push_str(&format!("{{{labels}}}{rest}")),
    }
    text.push('\n');
}

fn written(labels: &[(&'static str, String)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    labels.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_described_once_and_each_sample_says_whose_it_is() {
        let one = "# HELP a_requests Requests.\n# TYPE a_requests counter\na_requests_total{path=\"{ x\"} 1\n\
            # HELP a_up Up.\n# TYPE a_up gauge\na_up 1\n# EOF\n";
        let two = "# HELP a_up Up.\n# TYPE a_up gauge\na_up 0\n# HELP a_slots Slots.\n# TYPE a_slots gauge\n\
            a_slots 2\n# EOF\n";
        let labels = |name: &str| [("server", name.to_owned())];
        let (first, second) = (labels("a\"b\\\nc"), labels("d"));
        let merged = merge([(first.as_slice(), one), (second.as_slice(), two), (&[][..], "b 3\n")]);
        let expected = "# HELP a_requests Requests.\n# TYPE a_requests counter\n\
            a_requests_total{server=\"a\\\"b\\\\ c\",path=\"{ x\"} 1\n\
            # HELP a_up Up.\n# TYPE a_up gauge\na_up{server=\"a\\\"b\\\\ c\"} 1\na_up{server=\"d\"} 0\n\
            # HELP a_slots Slots.\n# TYPE a_slots gauge\na_slots{server=\"d\"} 2\nb 3\n# EOF\n";
        assert_eq!(merged, expected);
    }
}
