//! Types of the machines: none has many fields, and no two that others can use share a name.
//!
//! In: the tree. Out: structs of too many fields, names with several meanings.

use std::collections::BTreeMap;

use super::source::code_lines;
use super::{File, Offence};

/// Where this holds.
const FOLDER: &str = "profiler/core/src/machine/";
/// More fields than this are more than one thing.
const MAX_FIELDS: usize = 15;

/// A type at the top of a file.
#[derive(Debug, PartialEq, Eq)]
struct Type<'a> {
    name: &'a str,
    /// Its line, from 1.
    line: usize,
    is_public: bool,
    /// Fields with names.
    fields: usize,
}

/// The word at the beginning of a text.
fn word(text: &str) -> &str {
    let is_of_word = |character: char| character.is_alphanumeric() || character == '_';
    text.find(|character| !is_of_word(character)).and_then(|end| text.get(..end)).unwrap_or(text)
}

/// What follows `pub` and where it is public; `None`: it is not.
fn public(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub")?;
    let rest =
        rest.strip_prefix('(').and_then(|inside| inside.split_once(')')).map_or(rest, |(_, rest)| rest);
    rest.strip_prefix(' ')
}

/// Whether a line within a struct begins a field.
fn is_field(line: &str) -> bool {
    let declared = public(line).unwrap_or(line);
    let name = word(declared);
    !name.is_empty() && declared.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
}

fn types(lines: &[String]) -> Vec<Type<'_>> {
    let mut types: Vec<Type<'_>> = Vec::new();
    let mut is_open = false;
    for (number, line) in (1..).zip(lines) {
        let declared = public(line).unwrap_or(line);
        if let Some(rest) = declared.strip_prefix("struct ").or_else(|| declared.strip_prefix("enum ")) {
            is_open = declared.starts_with("struct ") && line.ends_with('{');
            let is_public = public(line).is_some();
            types.push(Type { name: word(rest), line: number, is_public, fields: 0 });
        } else if line.starts_with('}') {
            is_open = false;
        } else if line.strip_prefix("    ").is_some_and(|line| is_open && is_field(line))
            && let Some(last) = types.last_mut()
        {
            last.fields += 1;
        }
    }
    types
}

/// Structs of too many fields, and names that mean several things.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let is_test = |file: &&File| file.is_unit_tests() || file.path.contains("/tests/");
    let own = files.iter().filter(|file| file.path.starts_with(FOLDER) && file.path.ends_with(".rs"));
    let mut offences = Vec::new();
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for file in own.filter(|file| !is_test(file)) {
        for found in types(&code_lines(&file.text)) {
            let at = format!("{}:{}", file.path, found.line);
            if found.fields > MAX_FIELDS {
                let Type { name, fields, .. } = found;
                offences.push(format!("{at}: {name} has {fields} fields, more than {MAX_FIELDS}: divide it"));
            }
            if !found.is_public {
                continue;
            }
            match first.get(found.name) {
                Some(other) => offences.push(format!("{at}: {} is also a type of {other}", found.name)),
                None => drop(first.insert(found.name.to_owned(), at)),
            }
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn fields(count: usize) -> String {
        (0..count).map(|number| format!("    pub(in crate::machine) f{number}: u64,\n")).collect()
    }

    #[test]
    fn a_struct_of_sixteen_fields_is_named_and_one_of_fifteen_is_not() {
        let text =
            |count| format!("/// A.\npub struct A {{\n{}}}\nfn b(\n    c: u64,\n) {{}}\n", fields(count));
        let found = |count| offences(&[file("profiler/core/src/machine/a.rs", &text(count))]);
        assert_eq!(found(15), Vec::<Offence>::new());
        let expected = "profiler/core/src/machine/a.rs:2: A has 16 fields, more than 15: divide it";
        assert_eq!(found(16), [expected]);
        assert_eq!(offences(&[file("profiler/core/src/model.rs", &text(16))]), Vec::<Offence>::new());
    }

    #[test]
    fn private_fields_count_and_what_is_private_to_its_file_may_share_a_name() {
        let lines = code_lines(
            "struct A<'a> {\n    b: u64,\n    // c: d\n    pub e: &'a str,\n}\nenum F {\n    G,\n}\n",
        );
        let of = |name, line, fields| Type { name, line, is_public: false, fields };
        assert_eq!(types(&lines), [of("A", 1, 2), of("F", 6, 0)]);
        let two = |text| {
            [
                "profiler/core/src/machine/a.rs",
                "profiler/core/src/machine/b.rs",
                "profiler/core/src/machine/tests/c.rs",
            ]
            .map(|path| file(path, text))
        };
        assert_eq!(offences(&two("struct Sum(u64);")), Vec::<Offence>::new());
        let expected =
            "profiler/core/src/machine/b.rs:1: Sum is also a type of profiler/core/src/machine/a.rs:1";
        assert_eq!(offences(&two("pub(super) struct Sum(u64);")), [expected]);
    }
}
