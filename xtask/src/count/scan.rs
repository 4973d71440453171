//! What one Rust file holds: lines of code, lines that only tests need, and tests.
//!
//! In: the text of a file. Out: its lines without blanks and comments, apart by whether a test item
//! (`#[cfg(test)]`, `#[test]`) holds them, and the modules that the file declares for tests only.

use std::collections::BTreeSet;

use anyhow::anyhow;
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Lines that hold code outside test items.
    pub(super) code_lines: usize,
    /// Lines that hold code of test items alone.
    pub(super) test_lines: usize,
    /// Functions that are tests.
    pub(super) tests: usize,
    /// Modules that are declared for tests only.
    pub(super) test_modules: Vec<TestModule>,
}

/// A module declared for tests only.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TestModule {
    /// Its name.
    pub(super) name: String,
    /// Where `#[path]` says that it is.
    pub(super) path: Option<String>,
}

/// Scans the text of a file.
pub(super) fn scan(text: &str) -> anyhow::Result<Scanned> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("not Rust: {error}"))?;
    let mut scanner = Scanner::default();
    scanner.walk(&tokens.into_iter().collect::<Vec<_>>(), false);
    let blank: BTreeSet<usize> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| line.trim().is_empty())
        .map(|(number, _)| number)
        .collect();
    let code: BTreeSet<usize> = scanner.code.difference(&blank).copied().collect();
    Ok(Scanned {
        code_lines: code.len(),
        test_lines: scanner.test.difference(&blank).filter(|line| !code.contains(line)).count(),
        tests: scanner.tests,
        test_modules: scanner.test_modules,
    })
}

#[derive(Default)]
struct Scanner {
    /// Numbers of lines, from 1.
    code: BTreeSet<usize>,
    test: BTreeSet<usize>,
    tests: usize,
    test_modules: Vec<TestModule>,
}

impl Scanner {
    fn walk(&mut self, tokens: &[TokenTree], mut in_test: bool) {
        let mut rest = tokens;
        while let Some((first, others)) = rest.split_first() {
            let (attributes, item) = attributes(rest);
            if attributes.is_empty() {
                self.token(first, in_test);
                rest = others;
                continue;
            }
            self.tests += attributes.iter().filter(|attribute| attribute.is_test_function()).count();
            in_test |= attributes.iter().any(|attribute| attribute.is_inner && attribute.is_for_tests());
            let is_test_item = attributes.iter().any(Attribute::is_for_tests);
            for attribute in attributes.iter().filter(|attribute| !attribute.is_comment()) {
                self.lines(attribute.pound, in_test || is_test_item);
                self.group(attribute.group, in_test || is_test_item);
            }
            rest = item;
            if is_test_item && !in_test {
                let (item, after) = item.split_at(item_length(item));
                self.test_modules.extend(module(item, &attributes));
                self.walk(item, true);
                rest = after;
            }
        }
    }

    fn token(&mut self, token: &TokenTree, in_test: bool) {
        match token {
            TokenTree::Group(group) => self.group(group, in_test),
            other => self.lines(other.span(), in_test),
        }
    }

    fn group(&mut self, group: &Group, in_test: bool) {
        self.lines(group.span_open(), in_test);
        self.lines(group.span_close(), in_test);
        self.walk(&group.stream().into_iter().collect::<Vec<_>>(), in_test);
    }

    fn lines(&mut self, span: Span, in_test: bool) {
        let lines = if in_test { &mut self.test } else { &mut self.code };
        lines.extend(span.start().line..=span.end().line);
    }
}

/// `#[…]` or `#![…]`; comments of documentation are attributes too.
struct Attribute<'a> {
    pound: Span,
    is_inner: bool,
    group: &'a Group,
    /// What stands between the brackets, without blanks.
    text: String,
}

impl Attribute<'_> {
    fn is_comment(&self) -> bool {
        self.pound.source_text().is_some_and(|text| text.starts_with('/'))
    }

    fn is_test_function(&self) -> bool {
        self.text == "test" || self.text.ends_with("::test")
    }

    fn is_for_tests(&self) -> bool {
        self.is_test_function() || self.text == "cfg(test)" || self.text.starts_with("cfg(all(test,")
    }
}

/// The attributes at the beginning, and what follows them.
fn attributes(tokens: &[TokenTree]) -> (Vec<Attribute<'_>>, &[TokenTree]) {
    let (mut found, mut rest) = (Vec::new(), tokens);
    loop {
        let (pound, is_inner, group, after) = match rest {
            [TokenTree::Punct(pound), TokenTree::Group(group), after @ ..] => (pound, false, group, after),
            [TokenTree::Punct(pound), TokenTree::Punct(bang), TokenTree::Group(group), after @ ..]
                if bang.as_char() == '!' =>
            {
                (pound, true, group, after)
            }
            _ => return (found, rest),
        };
        if pound.as_char() != '#' || group.delimiter() != Delimiter::Bracket {
            return (found, rest);
        }
        let text = group.stream().to_string().split_whitespace().collect();
        found.push(Attribute { pound: pound.span(), is_inner, group, text });
        rest = after;
    }
}

/// How many tokens the item, field or statement at the beginning has.
fn item_length(tokens: &[TokenTree]) -> usize {
    let word = |index: usize| match tokens.get(index) {
        Some(TokenTree::Ident(word)) => word.to_string(),
        _ => String::new(),
    };
    let mark = |index: usize| match tokens.get(index) {
        Some(TokenTree::Punct(mark)) => mark.as_char(),
        _ => ' ',
    };
    let is_brace =
        |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
    // Visibility.
    let is_restricted = word(0) == "pub" && matches!(tokens.get(1), Some(TokenTree::Group(_)));
    let start = usize::from(word(0) == "pub") + usize::from(is_restricted);
    // A type or a value may hold braces, and ends by `;`. A signature may hold commas, and ends by a body.
    let (first, second) = (word(start), word(start + 1));
    let has_value = match first.as_str() {
        "const" => !matches!(second.as_str(), "fn" | "unsafe" | "extern" | "async"),
        "use" | "static" | "type" | "let" => true,
        _ => false,
    };
    let has_signature = matches!(
        first.as_str(),
        "const"
            | "fn"
            | "unsafe"
            | "extern"
            | "async"
            | "struct"
            | "enum"
            | "union"
            | "impl"
            | "trait"
            | "mod"
    );
    let mut angles = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match mark(index) {
            ';' => return index + 1,
            ',' if angles == 0 && !has_value && !has_signature => return index + 1,
            '<' => angles += 1,
            // The end of `->` and `=>` closes nothing.
            '>' if !matches!(mark(index.saturating_sub(1)), '-' | '=') => angles = angles.saturating_sub(1),
            _ if is_brace(token) && !has_value => {
                return index + 1 + usize::from(matches!(mark(index + 1), ',' | ';'));
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The module that an item is.
fn module(item: &[TokenTree], attributes: &[Attribute<'_>]) -> Option<TestModule> {
    let place = item.iter().position(|token| matches!(token, TokenTree::Ident(word) if word == "mod"))?;
    // Before it stands at most `pub(…)`.
    let TokenTree::Ident(name) = item.get(place + 1).filter(|_| place <= 2)? else { return None };
    let path = attributes.iter().find_map(|attribute| attribute.text.strip_prefix("path="));
    Some(TestModule { name: name.to_string(), path: path.map(|path| path.trim_matches('"').to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (usize, usize, usize) {
        let scanned = scan(text).unwrap();
        (scanned.code_lines, scanned.test_lines, scanned.tests)
    }

    #[test]
    fn blanks_and_comments_of_all_kinds_are_no_code() {
        let text = "//! About.\n\n/* a /* nested\n fn no() {} */ */\n/// Says.\n/** Says\nmore. */\nfn a() {\n    // no\n\n    b(); // yes\n}\n";
        assert_eq!(lines(text), (3, 0, 0));
        assert_eq!(lines("#[doc = \"an attribute\"]\nfn a() {}\n"), (2, 0, 0));
    }

    #[test]
    fn what_stands_in_strings_is_code_and_no_comment() {
        let text = "const A: &str = r##\"\n// \"# text\n\n#[test]\n\"##;\nconst B: char = '\"'; // no\nconst C: &[u8] = b\"/*\";\n";
        assert_eq!(lines(text), (6, 0, 0));
    }

    #[test]
    fn lifetimes_and_characters_are_told_apart() {
        assert_eq!(lines("fn a<'a>(b: &'a u8) -> char {\n    '\\''\n}\n// '\n"), (3, 0, 0));
    }

    #[test]
    fn test_items_are_counted_apart_with_their_attributes() {
        let text = "use a::b;\n#[allow(dead_code)]\n#[cfg(test)]\nuse c::{d, e};\n#[cfg(test)]\nconst F: G = G { h: 1 };\nfn i() {}\n#[cfg(test)]\nmod tests {\n    /// Says.\n    #[test]\n    fn j() {}\n}\nfn k() {}\n";
        assert_eq!(lines(text), (3, 10, 1));
    }

    #[test]
    fn signatures_end_by_their_body() {
        let text = "#[cfg(test)]\npub(crate) const fn a<B, C>(b: B) -> [C; 2]\nwhere\n    B: D,\n    C: D,\n{\n}\nfn e() {}\n#[cfg(test)]\nstruct F(u8);\nfn g() {}\n";
        assert_eq!(lines(text), (2, 9, 0));
    }

    #[test]
    fn fields_and_arms_end_by_their_comma() {
        let text = "struct A {\n    #[cfg(test)]\n    b: Map<C, D>,\n    e: F,\n}\nfn g() {\n    match h {\n        #[cfg(test)]\n        I => {\n        }\n        _ => {}\n    }\n}\n";
        assert_eq!(lines(text), (8, 5, 0));
    }

    #[test]
    fn tests_within_macros_are_counted() {
        let text = "#[cfg(test)]\nmod tests {\n    proptest! {\n        #[test]\n        fn a(b in 0..3) {}\n    }\n}\n";
        assert_eq!(lines(text), (0, 7, 1));
        assert_eq!(lines("#[tokio::test]\nasync fn a() {}\n"), (0, 2, 1));
    }

    #[test]
    fn a_file_may_be_for_tests_as_a_whole() {
        assert_eq!(lines("//! About.\n#![cfg(test)]\nuse a::b;\n"), (0, 2, 0));
    }

    #[test]
    fn modules_for_tests_are_named_with_their_path() {
        let text = "mod a;\n#[cfg(test)]\npub(crate) mod b;\n#[cfg(test)]\n#[path = \"c/tests.rs\"]\nmod d;\n#[cfg(test)]\nfn e() {}\n";
        let expected = [("b", None), ("d", Some("c/tests.rs"))]
            .map(|(name, path)| TestModule { name: name.to_owned(), path: path.map(str::to_owned) });
        assert_eq!(scan(text).unwrap().test_modules, expected);
    }
}
