//! How a report is written: where to, in which form, with what beside it.
//!
//! In: arguments. Out: [`Output`], and the forms of whatever else a command says.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::help::REPORT;
use crate::report::form::FormKind;
use crate::report::{FORMS, json, text};

/// How a report is written.
#[derive(Clone, Debug, Default, Args)]
pub struct Output {
    /// File for the report, instead of stdout; its ending chooses the form
    ///
    /// .txt, .html, .json and .ndjson; .pftrace is a timeline, .collapsed, .speedscope and .pprof are stacks
    /// for flame graphs. Any other ending means text.
    #[arg(long, short, value_name = "FILE", help_heading = REPORT)]
    pub output: Option<PathBuf>,
    /// Form of the report [default: by the ending of FILE, else text]
    #[arg(long, short, value_enum, value_name = "FORM", help_heading = REPORT)]
    pub format: Option<Format>,
    /// Colours in the text report
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", help_heading = REPORT, hide_short_help = true)]
    pub color: Color,
    /// The whole text report, not one page of it
    ///
    /// With every section, and with what each verdict was judged by. The other forms are always whole.
    #[arg(long, short, help_heading = REPORT, hide_short_help = true)]
    pub verbose: bool,
    /// Say what advice would bring
    ///
    /// Where it changes numbers of workers or threads, or puts a proxy in front. It is simulated from what
    /// this window showed, which takes memory (`wsgi-trace whatif` says more).
    #[arg(long, help_heading = REPORT, hide_short_help = true)]
    pub forecast: bool,
}

impl Output {
    /// The form that was asked for, else the one that the file's ending names, else text.
    pub fn form(&self) -> &'static FormKind {
        let named = self.format.map(|Format(form)| form);
        named.or_else(|| self.by_ending()).unwrap_or(&text::FORM)
    }

    fn by_ending(&self) -> Option<&'static FormKind> {
        form_of(self.output.as_deref()?)
    }

    /// Says on stderr where the file's ending names another form than `--format`, which wins.
    pub fn say_contradiction(&self) {
        let Some(sentence) = self.contradiction() else { return };
        // Nobody may be reading: then there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "wsgi-trace: {sentence}");
    }

    fn contradiction(&self) -> Option<String> {
        let (asked, ending) = (self.form(), self.by_ending()?);
        (asked.name != ending.name).then(|| {
            let file = self.output.as_deref().unwrap_or_else(|| Path::new("-")).display();
            format!(
                "{file} will hold {}, as --format says, though its ending stands for {}",
                asked.name, ending.name
            )
        })
    }
}

/// The form that a file's ending stands for.
fn form_of(file: &Path) -> Option<&'static FormKind> {
    let ending = file.extension()?.to_str()?;
    FORMS.iter().find(|form| form.endings.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

/// Form of a report: one of [`FORMS`].
#[derive(Clone, Copy, Debug)]
pub struct Format(&'static FormKind);

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Format>> = LazyLock::new(|| FORMS.iter().map(Format).collect());
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name).help(self.0.help))
    }
}

/// Forms of what is not a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlainFormat {
    /// For reading in a terminal
    #[default]
    Text,
    /// JSON
    Json,
}

impl PlainFormat {
    /// The form that a file's ending stands for, else text.
    pub fn of_file(file: &Path) -> Self {
        if form_of(file).is_some_and(|form| form.name == json::FORM.name) { Self::Json } else { Self::Text }
    }
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Whether to colour what goes to a terminal (`true`) or elsewhere.
    pub fn enabled(self, is_terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(file: &str, format: Option<&'static FormKind>) -> Output {
        Output { output: Some(file.into()), format: format.map(Format), ..Output::default() }
    }

    #[test]
    fn the_ending_of_the_file_chooses_the_form() {
        for (file, form) in [
            ("x.html", "html"),
            ("x.HTM", "html"),
            ("x.json", "json"),
            ("x.ndjson", "ndjson"),
            ("x.pftrace", "timeline"),
            ("x.perfetto-trace", "timeline"),
            ("x.speedscope", "speedscope"),
            ("x.pb", "pprof"),
            ("x.txt", "text"),
            ("x.log", "text"),
            ("html", "text"),
            ("dir.html/x", "text"),
            ("-", "text"),
        ] {
            assert_eq!(output(file, None).form().name, form, "{file}");
            assert_eq!(output(file, None).contradiction(), None, "{file}");
        }
        assert_eq!(Output::default().form().name, "text");
    }

    #[test]
    fn the_report_of_the_screen_is_json_where_its_file_is_called_so() {
        let of_file = |file| PlainFormat::of_file(Path::new(file));
        assert_eq!([of_file("x.json"), of_file("x.txt")], [PlainFormat::Json, PlainFormat::Text]);
        assert_eq!(of_file("x.html"), PlainFormat::Text, "the screen writes no page");
    }

    #[test]
    fn a_form_that_is_asked_for_wins_and_a_contradiction_is_said() {
        let json = FORMS.iter().find(|form| form.name == "json");
        let contradicts = output("x.html", json);
        assert_eq!(contradicts.form().name, "json");
        let sentence = "x.html will hold json, as --format says, though its ending stands for html";
        assert_eq!(contradicts.contradiction().as_deref(), Some(sentence));
        for file in ["x.json", "x", "x.log"] {
            assert_eq!(output(file, json).form().name, "json", "{file}");
            assert_eq!(output(file, json).contradiction(), None, "{file}");
        }
    }

    #[test]
    fn the_help_names_an_ending_of_every_form() {
        use clap::Args as _;
        let command = Output::augment_args(clap::Command::new("x"));
        let output = command.get_arguments().find(|argument| argument.get_id() == "output");
        let help = output.and_then(clap::Arg::get_long_help).expect("has help").to_string();
        for form in FORMS {
            let first = form.endings.first().expect("has an ending");
            assert!(help.contains(&format!(".{first}")), "{}: {help}", form.name);
        }
    }
}
