//! What a configuration file of uWSGI says (`--ini`), as far as its options are known here.
//!
//! In: the text of the file. Out: settings and values, `None` where the file alone does not say: it includes
//! others, has conditions, or a value that uWSGI makes of something else. Values of other options stay there.

use super::OPTIONS;
use crate::server::command_line::{Takes, base_name, program, read as arguments_of};

/// Options that make others, by their beginning.
const MAKE_OTHERS: [&str; 8] = ["ini", "inherit", "include", "if", "for", "end", "exec", "plugin-ini"];

/// The file that a command line names: its path as given.
pub fn file_of(command_line: &[String]) -> Option<String> {
    let found = program(command_line).filter(|found| base_name(found.name).starts_with("uwsgi"))?;
    let file = super::configuration(&arguments_of(OPTIONS, found.arguments))?;
    file.ends_with(".ini").then_some(file)
}

/// Where an emperor has its vassals' files, if that is one directory.
pub fn vassals_of(command_line: &[String]) -> Option<&str> {
    let mut rest = command_line.iter();
    while let Some(argument) = rest.next() {
        match argument.split_once('=') {
            Some(("--emperor", directory)) => return Some(directory),
            None if argument == "--emperor" => return rest.next().map(String::as_str),
            _ => {}
        }
    }
    None
}

/// Its settings, by their names in reports.
pub fn read(text: &str) -> Option<Vec<(String, String)>> {
    let mut settings = Vec::new();
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            is_ours = section.trim_end_matches(']') == "uwsgi";
            continue;
        }
        if !is_ours {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, "true"));
        let (key, value) = (key.trim(), value.trim());
        if MAKE_OTHERS.iter().any(|beginning| key.starts_with(beginning)) {
            return None;
        }
        let Some(option) = OPTIONS.iter().find(|option| option.long.contains(&key)) else { continue };
        let Some(setting) = option.setting else { continue };
        if value.contains(['%', '$', '@']) {
            return None;
        }
        match (&option.takes, value) {
            (Takes::Nothing, "false") => {}
            (Takes::Nothing, _) => settings.push((setting.to_owned(), "true".to_owned())),
            _ => settings.push((setting.to_owned(), value.to_owned())),
        }
    }
    (!settings.is_empty()).then_some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn known_options_of_its_section_are_read_and_no_secret_is() {
        let text = "[other]\nthreads = 9\n[uwsgi]\n; processes = 7\nmaster = true\nworkers = 2\n\
                    wsgi-file=app.py\nthunder-lock = false\nenv = TOKEN=secret\n";
        let expected = [("master", "true"), ("processes", "2"), ("wsgi_app", "app.py")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(text), Some(expected.to_vec()));
    }

    #[test]
    fn what_the_file_alone_does_not_say_is_not_read() {
        for line in ["processes = %k", "threads = $(THREADS)", "ini = common.ini", "if-env = A", "env = A=1"]
        {
            assert_eq!(read(&format!("[uwsgi]\n{line}\n")), None, "{line}");
        }
    }

    #[test]
    fn the_file_and_the_emperors_directory_are_told_by_command_lines() {
        assert_eq!(file_of(&words("/v/uwsgi --ini shop.ini")).as_deref(), Some("shop.ini"));
        assert_eq!(file_of(&words("uwsgi /etc/shop.ini")).as_deref(), Some("/etc/shop.ini"));
        assert_eq!(file_of(&words("uwsgi --yaml shop.yml")), None);
        assert_eq!(vassals_of(&words("uwsgi --master --emperor /etc/v")), Some("/etc/v"));
        assert_eq!(vassals_of(&words("uwsgi --emperor=/etc/v")), Some("/etc/v"));
    }
}
