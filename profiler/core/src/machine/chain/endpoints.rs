//! Endpoints by number: their names, and which one each request asked.
//!
//! In: requests that are over. Out: the endpoint of a request, by the request's number. Numbers of requests
//! are dense, so the newest are a list.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::model::gil_contender::Contender;
use crate::model::path_shape::path_shape;
use crate::model::request::Http;

/// Endpoints that have a name of their own.
const MAX_ENDPOINTS: usize = 1024;
/// The newest requests whose endpoint is remembered.
const MAX_REQUESTS: usize = 65_536;

/// The endpoints met.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct EndpointNames {
    /// The first stands for none.
    names: Vec<String>,
    numbers: FxHashMap<String, u32>,
    /// By their number in the sums of the window, plus 1; 0: not asked for yet.
    of_window: Vec<u32>,
    /// Requests from this number on, each with its endpoint; 0: not known.
    first: u64,
    of_requests: VecDeque<u32>,
    /// The first request of this window.
    rolled_at: u64,
}

impl EndpointNames {
    /// The number of a request's endpoint. `place`: its number in the sums of the window, if it has one.
    #[inline]
    pub(super) fn of(&mut self, http: &Http, place: Option<usize>) -> u32 {
        let known = place.and_then(|place| self.of_window.get(place)).copied().unwrap_or(0);
        if known > 0 { known } else { self.ask(http, place) }
    }

    #[cold]
    fn ask(&mut self, http: &Http, place: Option<usize>) -> u32 {
        let Http { method, path, .. } = http;
        let name = if method.is_empty() { String::new() } else { format!("{method} {}", path_shape(path)) };
        let number = self.number(&name);
        if let Some(place) = place.filter(|place| *place < MAX_ENDPOINTS) {
            if self.of_window.len() <= place {
                self.of_window.resize(place + 1, 0);
            }
            if let Some(known) = self.of_window.get_mut(place) {
                *known = number;
            }
        }
        number
    }

    /// The number of whoever contends for the interpreter lock; `None`: not known.
    pub(super) fn of_contender(&mut self, contender: &Contender) -> Option<u32> {
        match contender {
            Contender::Endpoint(name) => Some(self.number(name)),
            Contender::Thread { .. } => Some(0),
            Contender::Unknown => None,
        }
    }

    /// The number of a name. All that have no room share one.
    fn number(&mut self, name: &str) -> u32 {
        const OTHERS: &str = "(other)";
        if self.names.is_empty() {
            self.names.push(String::new());
        }
        let name =
            if self.names.len() < MAX_ENDPOINTS || self.numbers.contains_key(name) { name } else { OTHERS };
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(0);
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// A request is over.
    #[inline]
    pub(super) fn remember(&mut self, request: u64, endpoint: u32) {
        if self.of_requests.is_empty() {
            self.first = request;
        }
        let Some(at) = request.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else {
            return;
        };
        if at >= MAX_REQUESTS {
            return self.forget_before(request);
        }
        while self.of_requests.len() <= at {
            self.of_requests.push_back(0);
        }
        if let Some(place) = self.of_requests.get_mut(at) {
            *place = endpoint;
        }
    }

    /// There is no room for a request any more: half of those before it are forgotten.
    #[cold]
    fn forget_before(&mut self, request: u64) {
        self.drop_before(request.saturating_sub(MAX_REQUESTS as u64 / 2));
    }

    fn drop_before(&mut self, first: u64) {
        let count = first.saturating_sub(self.first).min(self.of_requests.len() as u64);
        self.of_requests.drain(..usize::try_from(count).unwrap_or(0));
        self.first = self.first.saturating_add(count);
    }

    /// The endpoint of a request, by its number plus 1; 0: not known.
    pub(super) fn of_request(&self, request: u64) -> u32 {
        let at = request.checked_sub(1).and_then(|request| request.checked_sub(self.first));
        at.and_then(|at| self.of_requests.get(usize::try_from(at).ok()?)).copied().unwrap_or(0)
    }

    /// The next window begins. What is open may have waited for requests of the one before.
    pub(super) fn roll(&mut self) {
        let next = self.first.saturating_add(self.of_requests.len() as u64);
        self.drop_before(self.rolled_at);
        self.rolled_at = next;
        self.of_window.clear();
    }

    /// All names by number; the first stands for none.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(path: &str) -> Http {
        Http { method: "GET".to_owned(), path: path.to_owned(), ..Http::default() }
    }

    #[test]
    fn endpoints_have_the_same_number_however_they_are_asked_for() {
        let mut endpoints = EndpointNames::default();
        let number = endpoints.of(&http("/a/1"), Some(3));
        assert!(number > 0);
        assert_eq!(endpoints.of(&http("/a/2"), None), number, "of one shape");
        assert_eq!(endpoints.of(&http("/never/looked/at"), Some(3)), number, "by its place");
        let contender = Contender::Endpoint("GET /a/{number}".to_owned());
        assert_eq!(endpoints.of_contender(&contender), Some(number));
        endpoints.roll();
        assert_ne!(endpoints.of(&http("/b"), Some(3)), number, "places are those of the window");
        assert_eq!(endpoints.names(), ["", "GET /a/{number}", "GET /b"]);
    }

    #[test]
    fn of_too_many_names_the_rest_share_one() {
        let mut endpoints = EndpointNames::default();
        let numbers: Vec<u32> =
            (0..2000).map(|index| endpoints.of(&http(&format!("/p{index}x")), None)).collect();
        assert_eq!(numbers[1500], numbers[1999]);
        assert_eq!(endpoints.names().len(), MAX_ENDPOINTS + 1);
    }

    #[test]
    fn the_newest_requests_are_remembered_and_those_of_the_window_before() {
        let mut endpoints = EndpointNames::default();
        for (request, endpoint) in [(10, 1), (12, 2), (11, 3), (9, 4)] {
            endpoints.remember(request, endpoint);
        }
        let of =
            |endpoints: &EndpointNames| [9, 10, 11, 12, 13].map(|request| endpoints.of_request(request + 1));
        assert_eq!(of(&endpoints), [0, 1, 3, 2, 0]);
        assert_eq!(endpoints.of_request(0), 0, "no request");
        endpoints.roll();
        endpoints.remember(13, 5);
        assert_eq!(of(&endpoints), [0, 1, 3, 2, 5]);
        endpoints.roll();
        assert_eq!(of(&endpoints), [0, 0, 0, 0, 5]);
        endpoints.remember(u64::MAX, 6);
        assert_eq!(endpoints.of_requests.len(), 0);
    }
}
