//! A Rust file as lines of code, for tests that look at names.
//!
//! In: the text of a file. Out: the same lines without comments, without the contents of strings, without the
//! module of unit tests at the end; and the paths that these lines name.

/// The lines of code, comments and string contents blanked, up to the unit tests.
pub(super) fn code_lines(text: &str) -> Vec<String> {
    let body = text.find("#[cfg(test)]\nmod tests {").and_then(|end| text.get(..end)).unwrap_or(text);
    body.lines().map(code).collect()
}

/// One line without a trailing comment and without what stands between double quotes.
fn code(line: &str) -> String {
    let mut code = String::new();
    let (mut in_string, mut escaped) = (false, false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if in_string {
            if character == '"' && !escaped {
                in_string = false;
                code.push('"');
            }
            escaped = character == '\\' && !escaped;
            continue;
        }
        if character == '/' && characters.peek() == Some(&'/') {
            break;
        }
        in_string = character == '"';
        code.push(character);
    }
    code
}

/// The modules that stand directly under `root::` in the code, with the line of each: `root::x`, `root::{x,
/// y::z}`.
pub(super) fn modules_under(lines: &[String], root: &str) -> Vec<(usize, String)> {
    let paths = paths_under(lines, root).into_iter();
    let mut modules: Vec<(usize, String)> = paths.map(|(line, path)| (line, first_name(&path))).collect();
    modules.dedup();
    modules
}

/// The paths that the code names under `root::`, groups taken apart, with the line of each: `root::x`,
/// `root::{x, y::{A, B}}`.
pub(super) fn paths_under(lines: &[String], root: &str) -> Vec<(usize, String)> {
    let text = lines.join("\n");
    let prefix = format!("{root}::");
    let mut found = Vec::new();
    for (start, _) in text.match_indices(&prefix) {
        let before = text.get(..start).unwrap_or_default();
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = before.matches('\n').count() + 1;
        let rest = text.get(start + prefix.len()..).unwrap_or_default();
        let mut paths = Vec::new();
        paths_of(rest, "", &mut paths);
        found.extend(paths.into_iter().map(|path| (line, path)));
    }
    found
}

/// The path at the beginning of `rest`, or each of a `{…}` group, with `before` in front of it.
fn paths_of(rest: &str, before: &str, paths: &mut Vec<String>) {
    let rest = rest.trim_start();
    let Some(group) = rest.strip_prefix('{') else {
        let name = first_name(rest);
        if name.is_empty() {
            return;
        }
        let after = rest.get(name.len()..).unwrap_or_default();
        let path = format!("{before}{name}");
        // `::<` gives a type its parameters: the path ends there.
        match after.strip_prefix("::").filter(|further| !further.starts_with('<')) {
            Some(further) => paths_of(further, &format!("{path}::"), paths),
            None => paths.push(path),
        }
        return;
    };
    let (mut depth, mut members, mut member) = (0_u32, Vec::new(), String::new());
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(std::mem::take(&mut member));
                continue;
            }
            _ => {}
        }
        member.push(character);
    }
    members.push(member);
    for member in members {
        paths_of(&member, before, paths);
    }
}

fn first_name(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_unit_tests_are_not_code() {
        let text = "use a::b; // std::fs\nlet x = \"std::net // no\"; y\n#[cfg(test)]\nmod tests {\n    use std::env;\n}\n";
        assert_eq!(code_lines(text), ["use a::b; ", "let x = \"\"; y"]);
    }

    #[test]
    fn what_follows_unit_tests_in_a_file_of_their_own_is_code() {
        let text = "mod a;\n#[cfg(test)]\nmod tests;\nuse super::b;\n";
        assert_eq!(code_lines(text), ["mod a;", "#[cfg(test)]", "mod tests;", "use super::b;"]);
    }

    #[test]
    fn modules_are_found_in_paths_and_in_groups() {
        let lines =
            code_lines("use crate::one::X;\nuse crate::{two::{A, B}, three};\nlet z = my_crate::four();\n");
        let names: Vec<_> = modules_under(&lines, "crate").into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["one", "two", "three"]);
    }

    #[test]
    fn paths_are_found_to_their_ends() {
        let lines =
            code_lines("use crate::one::{self, two::{A, B as C}};\nlet x = crate::three::four::<u8>();\n");
        let paths: Vec<_> = paths_under(&lines, "crate").into_iter().map(|(_, path)| path).collect();
        assert_eq!(paths, ["one::self", "one::two::A", "one::two::B", "three::four"]);
    }
}
