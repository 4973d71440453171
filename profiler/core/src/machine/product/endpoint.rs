//! Endpoints: requests grouped by method, path shape and status.
//!
//! In: finished requests. Out: a bounded number of groups, the rest added up as one.

use rustc_hash::FxHashMap;

use crate::model::Endpoint;
use crate::model::over_time::MAX_SERIES;
use crate::model::path_shape::write_path_shape;
use crate::model::request::Request;

/// Endpoints kept apart; the rest is counted together.
const MAX_ENDPOINTS: usize = 200;

/// All endpoints of a window.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// By path shape: places in `known`.
    index: FxHashMap<String, Vec<usize>>,
    /// The shape of the last path; kept for its memory.
    shape: String,
    known: Vec<Endpoint>,
    other: Option<Endpoint>,
    /// Ports of endpoints that have their waits over time.
    series: usize,
}

impl Endpoints {
    /// Counts a request. Returns the number of its endpoint; `None`: it is one of those beyond the bound.
    pub fn add(&mut self, request: &Request) -> Option<usize> {
        self.shape.clear();
        write_path_shape(&request.http.path, &mut self.shape);
        let mut series = self.series;
        let place = self.place(&request.http.method, request.http.status);
        let endpoint = self.of(place);
        endpoint.count = endpoint.count.saturating_add(1);
        endpoint.phases.add_all(&request.phases);
        endpoint.round_trips.add_all(&request.round_trips);
        endpoint.spread.add(&request.phases);
        endpoint.bytes_in = endpoint.bytes_in.saturating_add(request.http.bytes_in);
        endpoint.bytes_out = endpoint.bytes_out.saturating_add(request.http.bytes_out);
        // How long it takes until a connection is another is no length of a request.
        if !request.seen.truncated && request.http.became.is_none() {
            endpoint.by_worker.add(request.tgid, &request.phases);
            for to in request.round_trips.ports() {
                if series >= MAX_SERIES && !endpoint.waits.has(to.port) {
                    endpoint.waits.add_other(to);
                    continue;
                }
                let known = endpoint.waits.list.len();
                endpoint.waits.add(request.times.end_ns, to);
                series = series.saturating_add(endpoint.waits.list.len().saturating_sub(known));
            }
            endpoint.total.record(request.total_ns());
            if let Some(service_ns) = request.service_ns() {
                endpoint.service.record(service_ns);
            }
        }
        self.series = series;
        place
    }

    /// A request is open as the window ends: what it will be answered is not known.
    pub fn add_open(&mut self, request: &Request) {
        self.shape.clear();
        write_path_shape(&request.http.path, &mut self.shape);
        let place = self.place(&request.http.method, request.http.status);
        self.of(place).open.add(request.total_ns(), &request.phases, request.standing());
    }

    /// Where the endpoint of requests with the last path stands; `None`: there is no room for it.
    fn place(&mut self, method: &str, status: u16) -> Option<usize> {
        let is_it = |place: &&usize| {
            self.known.get(**place).is_some_and(|known| known.status == status && known.method == method)
        };
        let known = self.index.get(&self.shape).and_then(|places| places.iter().find(is_it)).copied();
        if known.is_some() || self.known.len() >= MAX_ENDPOINTS {
            return known;
        }
        self.index.entry(self.shape.clone()).or_default().push(self.known.len());
        let path_shape = self.shape.clone();
        self.known.push(Endpoint { method: method.to_owned(), path_shape, status, ..Endpoint::default() });
        Some(self.known.len() - 1)
    }

    /// The endpoint that stands there, or that of all others.
    fn of(&mut self, place: Option<usize>) -> &mut Endpoint {
        let path_shape = || "(other)".to_owned();
        match place.and_then(|place| self.known.get_mut(place)) {
            Some(known) => known,
            None => {
                self.other.get_or_insert_with(|| Endpoint { path_shape: path_shape(), ..Endpoint::default() })
            }
        }
    }

    /// The endpoints, most request time first, and what was beyond the bound.
    pub fn finish(mut self) -> (Vec<Endpoint>, Option<Endpoint>) {
        let total_ns = |of: &Endpoint| of.phases.total_ns().saturating_add(of.open.phases.total_ns());
        self.known.sort_by(|a, b| {
            (total_ns(b), &a.method, &a.path_shape, a.status).cmp(&(
                total_ns(a),
                &b.method,
                &b.path_shape,
                b.status,
            ))
        });
        (self.known, self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::by_worker;
    use crate::model::round_trips::ToPort;

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

    #[test]
    fn what_is_open_counts_beside_what_was_answered() {
        let mut endpoints = Endpoints::default();
        endpoints.add(&request("/a"));
        let mut open = request("/a");
        (open.seen.open, open.times.end_ns) = (true, 45);
        endpoints.add_open(&open);
        endpoints.add_open(&open);
        let (known, _) = endpoints.finish();
        assert_eq!(
            (known.len(), known[0].count, known[0].open.count, known[0].open.longest_ns),
            (1, 1, 2, 40)
        );
    }

    #[test]
    fn requests_count_for_the_process_that_served_them_if_their_beginning_was_seen() {
        let mut endpoints = Endpoints::default();
        for (tgid, truncated) in [(7, false), (8, false), (7, true), (7, false)] {
            let mut request = request("/orders");
            (request.tgid, request.seen.truncated) = (tgid, truncated);
            endpoints.add(&request);
        }
        let (known, _) = endpoints.finish();
        let told: Vec<_> = known[0].by_worker.list.iter().map(|worker| (worker.tgid, worker.count)).collect();
        assert_eq!((known[0].count, told), (4, vec![(7, 2), (8, 1)]));
    }

    #[test]
    fn the_first_ports_have_their_waits_over_time_and_those_of_others_are_counted() {
        let mut endpoints = Endpoints::default();
        let to = |port: u16| ToPort { port, count: 2, waited_ns: 5, ..ToPort::default() };
        for round in 1..=2 {
            for index in 0..1_000 {
                let mut request = request(&format!("/p{index}x"));
                request.seen.truncated = false;
                (1..=3).for_each(|port| request.round_trips.add(&to(port)));
                endpoints.add(&request);
            }
            // Three ports each: the last of the 171st endpoint finds no room, nor any later one.
            let all = || endpoints.known.iter().chain(&endpoints.other);
            assert_eq!(all().map(|endpoint| endpoint.waits.list.len()).sum::<usize>(), MAX_SERIES);
            let others = all().map(|endpoint| endpoint.waits.others).sum::<u64>();
            assert_eq!(others, round * 2 * (3_000 - MAX_SERIES as u64), "round {round}");
            let total = |endpoint: &Endpoint| -> u64 {
                endpoint.waits.list.iter().map(|waits| waits.total().round_trips).sum()
            };
            assert_eq!(all().map(total).sum::<u64>(), round * 2 * MAX_SERIES as u64, "round {round}");
        }
    }

    #[test]
    fn what_processes_did_takes_less_than_eight_megabytes_over_all_endpoints() {
        const { assert!((MAX_ENDPOINTS + 1) * by_worker::MAX_BYTES < 8_000_000) };
    }

    fn request(path: &str) -> Request {
        let beginning = crate::machine::wire::request::Beginning::at(1, 5);
        let mut request = crate::machine::wire::request::Active::new(&beginning, 1, 1).request;
        request.http.path = path.to_owned();
        *request
    }
}
