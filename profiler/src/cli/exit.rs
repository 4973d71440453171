//! Exit codes: one enum, which help and `docs/exit-codes.md` show.
//!
//! In: nothing. Out: [`ExitCode`]. A number, once published, keeps its meaning.

/// How the command ended. The number is the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// Done; whatever was found is in the report.
    Ok = 0,
    /// The command line is not valid.
    Usage = 2,
    /// No such process, nothing listens on the port, or no server has that name.
    TargetNotFound = 3,
    /// Privileges are missing.
    NotPermitted = 4,
    /// The kernel lacks what tracing needs.
    KernelUnsuitable = 5,
    /// The target ended before anything was seen.
    TargetGone = 6,
    /// A report or recording could not be written.
    OutputFailed = 7,
    /// The recording cannot be read.
    RecordingUnreadable = 8,
    /// A finding that `--fail-on` names is present.
    FindingPresent = 9,
    /// An internal error.
    Internal = 10,
}

impl ExitCode {
    /// All codes, in order.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Usage,
        Self::TargetNotFound,
        Self::NotPermitted,
        Self::KernelUnsuitable,
        Self::TargetGone,
        Self::OutputFailed,
        Self::RecordingUnreadable,
        Self::FindingPresent,
        Self::Internal,
    ];

    /// The number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done; without --fail-on, findings do not change the exit code",
            Self::Usage => "the command line is not valid",
            Self::TargetNotFound => "no such process, nothing listens on the port, no server of that name",
            Self::NotPermitted => "not enough privilege; wsgi-trace doctor says what is missing",
            Self::KernelUnsuitable => "the kernel lacks what tracing needs; wsgi-trace doctor says what",
            Self::TargetGone => "the target exited before anything was seen",
            Self::OutputFailed => {
                "an output or recording could not be written (disk full, no permission, a link)"
            }
            Self::RecordingUnreadable => "not a recording, an empty one, or one made by a newer version",
            Self::FindingPresent => "a finding that --fail-on names is present; the report is written",
            Self::Internal => "an internal error of wsgi-trace: please report it",
        }
    }

    /// The table that help shows.
    pub fn table() -> String {
        Self::ALL.iter().map(|code| format!("  {:>2}  {}\n", code.number(), code.meaning())).collect()
    }

    /// The table of `docs/exit-codes.md`.
    pub fn markdown() -> String {
        let rows: String =
            Self::ALL.iter().map(|code| format!("| {} | {} |\n", code.number(), code.meaning())).collect();
        format!("| code | meaning |\n|---|---|\n{rows}")
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_published_and_never_change() {
        let numbers: Vec<u8> = ExitCode::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers, [0, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn the_page_in_docs_shows_the_table_of_the_program() {
        let page = include_str!("../../../docs/exit-codes.md");
        assert!(
            page.contains(&ExitCode::markdown()),
            "docs/exit-codes.md should hold:\n{}",
            ExitCode::markdown()
        );
    }
}
