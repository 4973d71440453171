//! Which paths are those of one endpoint.
//!
//! In: the path of a request. Out: its shape, the same for all objects of one kind.

/// Longest path shape.
const MAX_SHAPE_BYTES: usize = 200;
/// Shortest name in hexadecimal that is taken for one.
const SHORTEST_HEX_BYTES: usize = 16;
/// Length of a UUID in its usual form.
const UUID_BYTES: usize = 36;

/// A path with the segments folded that distinguish one object from another: numbers, UUIDs, long hexadecimal
/// names.
pub fn path_shape(path: &str) -> String {
    let mut shape = String::with_capacity(path.len().min(MAX_SHAPE_BYTES));
    write_path_shape(path, &mut shape);
    shape
}

/// Appends the same to an empty `shape`.
pub fn write_path_shape(path: &str, shape: &mut String) {
    let has_parameters = path.as_bytes().contains(&b';');
    let mut rest = Some(path);
    while let Some(path) = rest {
        // Most are short: a search set up for each would take longer than the bytes themselves.
        let end = path.bytes().position(|byte| byte == b'/');
        let (segment, after) = end.and_then(|end| path.split_at_checked(end)).unwrap_or((path, ""));
        rest = after.get(1..);
        // Parameters of a segment (RFC 3986, 3.3) do not distinguish endpoints, and are overwritten in
        // recordings.
        let name = if has_parameters { segment.split(';').next().unwrap_or(segment) } else { segment };
        shape.push_str(folded(name));
        if shape.len() > MAX_SHAPE_BYTES {
            let mut end = MAX_SHAPE_BYTES;
            while !shape.is_char_boundary(end) {
                end -= 1;
            }
            shape.truncate(end);
            shape.push('…');
            return;
        }
        if rest.is_some() {
            shape.push('/');
        }
    }
}

/// A segment, or what stands for all of its kind.
pub fn folded(segment: &str) -> &str {
    let bytes = segment.as_bytes();
    let is_number = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    if is_number {
        return "{number}";
    }
    let is_long = bytes.len() >= SHORTEST_HEX_BYTES;
    if !is_long || !bytes.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-') {
        return segment;
    }
    if bytes.len() == UUID_BYTES && bytes.iter().filter(|byte| **byte == b'-').count() == 4 {
        "{uuid}"
    } else if bytes.iter().any(u8::is_ascii_digit) {
        "{hex}"
    } else {
        segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_one_kind_have_one_shape() {
        for (path, shape) in [
            ("/", "/"),
            ("", ""),
            ("/users/42/posts", "/users/{number}/posts"),
            ("/o/123e4567-e89b-12d3-a456-426614174000", "/o/{uuid}"),
            ("/blob/deadbeefdeadbeef01", "/blob/{hex}"),
            ("/facade/decade", "/facade/decade"),
            ("/shop;jsessionid=1A2B/cart;v=1", "/shop/cart"),
            ("/v1/items//7", "/v1/items//{number}"),
        ] {
            assert_eq!(path_shape(path), shape, "{path}");
        }
        assert!(path_shape(&"/é".repeat(5000)).len() <= MAX_SHAPE_BYTES + '…'.len_utf8());
    }
}
