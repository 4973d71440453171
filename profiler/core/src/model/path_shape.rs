//! Which paths are those of one endpoint.
//!
//! In: the path of a request. Out: its shape, the same for all objects of one kind.

/// Longest path shape.
const MAX_SHAPE_BYTES: usize = 200;

/// A path with the segments folded that tell one object from another: numbers, UUIDs, long hexadecimal names.
#[must_use]
pub fn path_shape(path: &str) -> String {
    let mut shape = String::with_capacity(path.len().min(MAX_SHAPE_BYTES));
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            shape.push('/');
        }
        let hexadecimal = segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let digits = segment.bytes().filter(u8::is_ascii_digit).count();
        if !segment.is_empty() && digits == segment.len() {
            shape.push_str("{number}");
        } else if hexadecimal
            && segment.len() == 36
            && segment.bytes().filter(|byte| *byte == b'-').count() == 4
        {
            shape.push_str("{uuid}");
        } else if hexadecimal && segment.len() >= 16 && digits > 0 {
            shape.push_str("{hex}");
        } else {
            shape.push_str(segment);
        }
        if shape.len() > MAX_SHAPE_BYTES {
            let mut end = MAX_SHAPE_BYTES;
            while !shape.is_char_boundary(end) {
                end -= 1;
            }
            shape.truncate(end);
            shape.push('…');
            break;
        }
    }
    shape
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
            ("/v1/items//7", "/v1/items//{number}"),
        ] {
            assert_eq!(path_shape(path), shape, "{path}");
        }
        assert!(path_shape(&"/é".repeat(5000)).len() <= MAX_SHAPE_BYTES + '…'.len_utf8());
    }
}
