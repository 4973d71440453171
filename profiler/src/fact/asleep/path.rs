//! Paths of files, without what may be a secret or a name.
//!
//! In: a path. Out: the same with parts folded that distinguish one object from others. The rule is that of
//! requests' paths (numbers, UUIDs, long names in hexadecimal), for each part before its ending; and in a
//! part, what was drawn at random, and addresses of e-mail.

use profiler_core::model::path_shape::folded;

/// Characters kept of a path.
const MAX_CHARACTERS: usize = 1024;
/// Shortest piece that is taken for one that was drawn at random.
const SHORTEST_RANDOM_BYTES: usize = 8;
/// From here on a piece of letters and digits is one.
const LONG_RANDOM_BYTES: usize = 20;

/// Letters that `tempfile` of Python draws for a name.
const DRAWN_BYTES: usize = 8;
/// What comes before them.
const TEMPORARY: [&str; 5] = ["-", "_", ".", "/", "tmp"];

/// What stands for a piece that was drawn at random.
const RANDOM: &str = "{random}";
/// What stands for an address of e-mail.
const MAIL: &str = "{mail}";

/// The path with such parts folded.
pub(super) fn redacted(path: &str) -> String {
    let mut result = String::with_capacity(path.len().min(MAX_CHARACTERS));
    for (index, part) in path.split('/').enumerate() {
        if index > 0 {
            result.push('/');
        }
        push_part(part, &mut result);
    }
    if result.len() > MAX_CHARACTERS {
        result = result.chars().take(MAX_CHARACTERS).collect();
    }
    result
}

/// The same of a file that has been deleted. It may be a temporary one: of its name the end goes, whatever
/// letters were drawn.
pub(super) fn redacted_deleted(path: &str) -> String {
    match path.len().checked_sub(DRAWN_BYTES).and_then(|at| path.split_at_checked(at)) {
        Some((before, drawn))
            if drawn.bytes().all(is_drawn) && TEMPORARY.iter().any(|end| before.ends_with(end)) =>
        {
            redacted(before) + RANDOM
        }
        _ => redacted(path),
    }
}

/// Letters of which `tempfile` of Python, and `mkstemp` of a C library, draw.
const fn is_drawn(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn push_part(part: &str, result: &mut String) {
    if is_mail(part) {
        result.push_str(MAIL);
        return;
    }
    // A hidden file's dot is no ending.
    let name_at = part.len() - part.trim_start_matches('.').len();
    let (dots, name) = part.split_at_checked(name_at).unwrap_or(("", part));
    let end = name.find('.').unwrap_or(name.len());
    let (stem, ending) = name.split_at_checked(end).unwrap_or((name, ""));
    result.push_str(dots);
    push_stem(stem, result);
    for piece in ending.split_inclusive('.') {
        let (piece, dot) = piece.strip_suffix('.').map_or((piece, ""), |piece| (piece, "."));
        // A version, a date, a suffix that rotation adds: short numbers say nothing of anyone.
        let is_short_number = piece.len() < 4 && piece.bytes().all(|byte| byte.is_ascii_digit());
        if is_short_number {
            result.push_str(piece);
        } else {
            push_stem(piece, result);
        }
        result.push_str(dot);
    }
}

fn push_stem(stem: &str, result: &mut String) {
    let fold = folded(stem);
    if fold != stem {
        result.push_str(fold);
        return;
    }
    let mut start = 0;
    let is_border = |byte: u8| matches!(byte, b'-' | b'_' | b'+' | b'=' | b'~' | b'@' | b',' | b' ');
    for (at, byte) in stem.bytes().chain(*b"-").enumerate() {
        if !is_border(byte) {
            continue;
        }
        let piece = stem.get(start..at).unwrap_or_default();
        result.push_str(if is_random(piece) { RANDOM } else { piece });
        result.push_str(stem.get(at..=at).unwrap_or_default());
        start = at + 1;
    }
}

/// `name@host.example`.
fn is_mail(part: &str) -> bool {
    let Some((name, host)) = part.split_once('@') else { return false };
    let has_domain = host.rsplit_once('.').is_some_and(|(host, domain)| {
        !host.is_empty() && domain.len() >= 2 && domain.bytes().all(|byte| byte.is_ascii_alphabetic())
    });
    !name.is_empty() && has_domain
}

/// Letters and digits in turn, three changes and more (`6s3p8gkj`), or very many of both; not a word with a
/// number (`python311`, `sha256sum`).
fn is_random(piece: &str) -> bool {
    let bytes = piece.as_bytes();
    if bytes.len() < SHORTEST_RANDOM_BYTES || !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let changes = bytes.windows(2).filter(|pair| pair.first().map(is_digit) != pair.last().map(is_digit));
    let changes = changes.count();
    changes >= 3 || changes > 0 && bytes.len() >= LONG_RANDOM_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_distinguishes_one_object_from_others_is_folded_and_names_stay() {
        for (path, expected) in [
            ("/srv/app/data/app.db", "/srv/app/data/app.db"),
            ("/srv/app.db-journal", "/srv/app.db-journal"),
            ("/run/slow/wgunicorn-6s3p8gkj", "/run/slow/wgunicorn-{random}"),
            ("/data/123456/orders/42.json", "/data/{number}/orders/{number}.json"),
            ("/media/123e4567-e89b-12d3-a456-426614174000.png", "/media/{uuid}.png"),
            ("/cache/deadbeefdeadbeef01/x", "/cache/{hex}/x"),
            ("/mail/ann.b@mail.example/new", "/mail/{mail}/new"),
            (
                "/usr/lib/python3.11/site-packages/x.cpython-311-x86_64-linux-gnu.so",
                "/usr/lib/python3.11/site-packages/x.cpython-311-x86_64-linux-gnu.so",
            ),
            ("/var/log/app.log.1", "/var/log/app.log.1"),
            ("/etc/.hidden", "/etc/.hidden"),
            ("/t/eyJhbGciOiJIUzI1NiIsInR5cCI6", "/t/{random}"),
            ("/var/lib/docker/overlay2", "/var/lib/docker/overlay2"),
            ("/a//b/", "/a//b/"),
            ("/opt/tool-7f3a9c21d", "/opt/tool-{random}"),
            ("relative/1234567890", "relative/{number}"),
            ("", ""),
            ("/é@/ü", "/é@/ü"),
        ] {
            assert_eq!(redacted(path), expected, "{path}");
        }
    }

    #[test]
    fn of_a_temporary_file_that_is_deleted_what_was_drawn_goes_whatever_it_is() {
        for drawn in ["6s3p8gkj", "f4rtzixx", "abcdefgh", "a_bcd_12"] {
            assert_eq!(redacted_deleted(&format!("/run/wgunicorn-{drawn}")), "/run/wgunicorn-{random}");
            assert_eq!(redacted_deleted(&format!("/tmp/tmp{drawn}")), "/tmp/tmp{random}");
        }
        assert_eq!(redacted_deleted("/var/log/access.log"), "/var/log/access.log");
        assert_eq!(redacted_deleted("/é"), "/é");
    }

    proptest! {
        #[test]
        fn no_path_is_too_long_or_makes_it_panic(path in ".{0,200}", times in 1_usize..30) {
            let result = redacted(&path.repeat(times));
            prop_assert!(result.chars().count() <= MAX_CHARACTERS);
        }

        #[test]
        fn parts_stay_parts(path in "(/[a-z0-9.@_-]{0,12}){0,8}") {
            prop_assert_eq!(redacted(&path).matches('/').count(), path.matches('/').count());
        }
    }
}
