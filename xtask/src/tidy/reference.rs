//! The page of JSON's keys: it is what the schema says.
//!
//! In: the schema and the page. Out: offences.

use super::{File, Offence};
use crate::reference::{PAGE, SCHEMA, page};

/// A page that is not up to date, or not there.
pub(super) fn offences(files: &[File]) -> Vec<Offence> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let made = match page(text(SCHEMA).unwrap_or_default()) {
        Ok(made) => made,
        Err(error) => return vec![format!("{SCHEMA}:1: {error:#}")],
    };
    if text(PAGE) == Some(made.as_str()) {
        Vec::new()
    } else {
        vec![format!("{PAGE}:1: is not what {SCHEMA} says: cargo xtask json-reference")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_the_schema_has_left_behind_is_an_offence() {
        let schema = r#"{"properties": {"a": {"description": "One.", "type": "string"}}}"#;
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let current = page(schema).unwrap();
        assert_eq!(offences(&[file(SCHEMA, schema), file(PAGE, &current)]), Vec::<Offence>::new());
        let changed = schema.replace("One", "Two");
        assert_eq!(offences(&[file(SCHEMA, &changed), file(PAGE, &current)]).len(), 1);
    }
}
