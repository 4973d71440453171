//! The bound on endpoints: how many methods with routes a set of files distinguishes.
//!
//! In: the method and the route of each request, as they come. Out: whether it has a row of its own name.
//! What was seen before is found without making a string.

use std::collections::{HashMap, HashSet};

/// Methods with routes that have rows of their own.
#[derive(Debug)]
pub(super) struct Endpoints {
    routes_by_method: HashMap<String, HashSet<String>>,
    count: usize,
    /// `usize::MAX`: there is none, and nothing is kept.
    bound: usize,
}

impl Endpoints {
    /// At most so many.
    pub(super) fn up_to(bound: usize) -> Self {
        Self { routes_by_method: HashMap::new(), count: 0, bound }
    }

    /// Whether this one is distinguished: it was before, or there is room for it.
    pub(super) fn distinguishes(&mut self, method: &str, route: &str) -> bool {
        if self.bound == usize::MAX {
            return true;
        }
        let routes = self.routes_by_method.get_mut(method);
        if routes.as_ref().is_some_and(|routes| routes.contains(route)) {
            return true;
        }
        if self.count >= self.bound {
            return false;
        }
        self.count = self.count.saturating_add(1);
        match routes {
            Some(routes) => routes.insert(route.to_owned()),
            None => {
                let first = HashSet::from([route.to_owned()]);
                self.routes_by_method.insert(method.to_owned(), first).is_none()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_came_first_are_distinguished_for_good() {
        let mut endpoints = Endpoints::up_to(3);
        let come = [
            ("GET", "/a", true),
            ("POST", "/a", true),
            ("GET", "/b", true),
            ("GET", "/c", false),
            ("PUT", "/a", false),
            ("POST", "/a", true),
            ("GET", "/a", true),
        ];
        for (method, route, expected) in come {
            assert_eq!(endpoints.distinguishes(method, route), expected, "{method} {route}");
        }
        let mut all = Endpoints::up_to(usize::MAX);
        assert!(all.distinguishes("GET", "/a") && all.routes_by_method.is_empty());
    }
}
