//! Endpoints: requests grouped by method, path shape and status.
//!
//! In: finished requests. Out: a bounded number of groups, the rest added up as one.

use rustc_hash::FxHashMap;

use crate::model::Endpoint;
use crate::model::request::Request;

/// Endpoints kept apart; the rest is counted together.
const MAX_ENDPOINTS: usize = 200;
/// Longest path shape.
const MAX_SHAPE_BYTES: usize = 200;

/// All endpoints of a window.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    index: FxHashMap<(String, String, u16), usize>,
    known: Vec<Endpoint>,
    other: Option<Endpoint>,
}

impl Endpoints {
    /// Counts a request.
    pub fn add(&mut self, request: &Request) {
        let shape = path_shape(&request.path);
        let key = (request.method.clone(), shape, request.status);
        let endpoint =
            match self.index.get(&key) {
                Some(index) => self.known.get_mut(*index),
                None if self.known.len() < MAX_ENDPOINTS => {
                    self.known.push(Endpoint {
                        method: key.0.clone(),
                        path_shape: key.1.clone(),
                        status: key.2,
                        ..Endpoint::default()
                    });
                    self.index.insert(key, self.known.len() - 1);
                    self.known.last_mut()
                }
                None => Some(self.other.get_or_insert_with(|| Endpoint {
                    path_shape: "(other)".to_owned(),
                    ..Endpoint::default()
                })),
            };
        let Some(endpoint) = endpoint else { return };
        endpoint.count = endpoint.count.saturating_add(1);
        endpoint.phases.add_all(&request.phases);
        endpoint.spread.add(&request.phases);
        endpoint.bytes_in = endpoint.bytes_in.saturating_add(request.bytes_in);
        endpoint.bytes_out = endpoint.bytes_out.saturating_add(request.bytes_out);
        if !request.truncated {
            endpoint.total.record(request.total_ns());
            if let Some(service_ns) = request.service_ns() {
                endpoint.service.record(service_ns);
            }
        }
    }

    /// The endpoints, most request time first, and what was beyond the bound.
    #[must_use]
    pub fn finish(mut self) -> (Vec<Endpoint>, Option<Endpoint>) {
        self.known.sort_by(|a, b| {
            (b.phases.total_ns(), &a.method, &a.path_shape, a.status).cmp(&(
                a.phases.total_ns(),
                &b.method,
                &b.path_shape,
                b.status,
            ))
        });
        (self.known, self.other)
    }
}

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

    #[test]
    fn endpoints_beyond_the_bound_are_counted_together() {
        let mut endpoints = Endpoints::default();
        for index in 0..1000 {
            endpoints.add(&request(&format!("/p{index}x")));
        }
        let (known, other) = endpoints.finish();
        assert_eq!(known.len(), MAX_ENDPOINTS);
        assert_eq!(other.map(|endpoint| endpoint.count), Some(800));
    }

    fn request(path: &str) -> Request {
        let beginning = crate::machine::request::Beginning {
            id: 1,
            connection: 1,
            index: 0,
            start_ns: 5,
            start_is_arrival: true,
            accepted_ns: None,
            truncated: false,
            dispatched_ns: 0,
        };
        let mut request = crate::machine::request::Active::new(&beginning, 1, 1).request;
        request.path = path.to_owned();
        request
    }
}
