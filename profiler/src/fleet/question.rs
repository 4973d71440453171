//! The standing questions, in the order of the page.
//!
//! In: the files of `queries/`, which are part of the program. Out: SQL, and which columns of the answer a
//! reader needs.

/// A question.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// Name of its file.
    pub name: &'static str,
    /// The question.
    pub asks: &'static str,
    /// Columns that people are shown, in order.
    pub columns: &'static [&'static str],
    query: &'static str,
    /// What is wanted of its rows.
    clause: &'static str,
    /// Rows that are asked for.
    limit: u32,
}

impl Question {
    /// What its file says.
    pub const fn file(&self) -> &'static str {
        self.query
    }

    /// The SQL.
    pub fn sql(&self) -> String {
        let query = self.query.trim().trim_end_matches(';');
        format!("SELECT * FROM (\n{query}\n) {} LIMIT {}", self.clause, self.limit)
    }
}

macro_rules! query {
    ($name:literal) => {
        include_str!(concat!("../../../queries/", $name, ".sql"))
    };
}

/// All of them.
pub static QUESTIONS: [Question; 9] = [
    Question {
        name: "outlier-host",
        asks: "Which host differs from the others of its service, in which phase?",
        columns: &["service", "host", "phase", "mean_ms", "other_hosts_ms", "difference_ms", "t", "since"],
        query: query!("outlier-host"),
        clause: "",
        limit: 200,
    },
    Question {
        name: "deploy",
        asks: "What changed with the latest version of each service?",
        columns: &[
            "service",
            "method",
            "route",
            "phase",
            "version_before",
            "version_after",
            "before_ms",
            "after_ms",
            "t",
        ],
        query: query!("deploy"),
        clause: "",
        limit: 200,
    },
    Question {
        name: "capacity",
        asks: "Which services run out of workers or threads?",
        columns: &[
            "service",
            "hosts",
            "slots_of_a_host",
            "busy_ratio",
            "exhausted_ratio",
            "waited_ratio",
            "waited_p99_ms",
        ],
        query: query!("capacity"),
        clause: "",
        limit: 50,
    },
    Question {
        name: "what-to-change",
        asks: "Which change would save most request time?",
        columns: &[
            "service",
            "finding",
            "setting_option",
            "setting_present",
            "setting_proposed",
            "hosts",
            "cost_s",
            "since",
        ],
        query: query!("what-to-change"),
        clause: "",
        limit: 50,
    },
    Question {
        name: "leaves",
        asks: "What did requests wait for, in the end?",
        columns: &[
            "service",
            "kind",
            "object",
            "endpoint",
            "by_way_of",
            "hosts",
            "held_s",
            "of_request_ratio",
            "prevented_s",
        ],
        query: query!("leaves"),
        clause: "",
        limit: 20,
    },
    Question {
        name: "gil-holders",
        asks: "Who holds the GIL while others wait?",
        columns: &["service", "holder", "hosts", "waited_s", "of_waiting_ratio", "mostly_waits"],
        query: query!("gil-holders"),
        clause: "",
        limit: 20,
    },
    Question {
        name: "dropped-connections",
        asks: "Which connections ended badly, why, and where?",
        columns: &["service", "cause", "connections", "hosts", "of_connections_ratio", "longest_waited_for"],
        query: query!("dropped-connections"),
        clause: "",
        limit: 20,
    },
    Question {
        name: "p99-by-phase",
        asks: "On which hosts and days was the slowest percent of requests slowest?",
        columns: &["service", "date", "host", "requests", "p99_ms"],
        query: query!("p99-by-phase"),
        clause: "WHERE phase = 'total_ns' ORDER BY p99_ms DESC, service, date, host",
        limit: 10,
    },
    Question {
        name: "coverage",
        asks: "Where was something lost or not measured?",
        columns: &[
            "service",
            "host",
            "date",
            "windows",
            "complete_ratio",
            "light_ratio",
            "records_lost",
            "requests_not_written",
        ],
        query: query!("coverage"),
        clause: "WHERE complete_ratio < 1 OR light_ratio > 0 ORDER BY complete_ratio, service, host, date",
        limit: 50,
    },
];
