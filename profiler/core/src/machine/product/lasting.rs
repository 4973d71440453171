//! Connections that became something else, by endpoint.
//!
//! In: each of them, as it ends or as the window does. Out: a bounded number of rows.

use crate::model::lasting::{Became, Lasting};
use crate::model::path_shape::path_shape;
use crate::model::request::Request;

/// Rows kept apart; the rest is counted in the last of its kind.
const MAX_ROWS: usize = 64;

/// All of them in a window.
#[derive(Clone, Debug, Default)]
pub(in crate::machine) struct Lastings {
    rows: Vec<Lasting>,
}

impl Lastings {
    /// One has ended, or is open as the window ends. `request`: from the head of the answer on.
    pub(in crate::machine) fn add(&mut self, request: &Request, became: Became, window_start_ns: u64) {
        let path_shape = path_shape(&request.http.path);
        let Some(row) = self.row(became, &request.http.method, path_shape) else { return };
        row.count = row.count.saturating_add(1);
        row.open = row.open.saturating_add(u64::from(request.seen.open));
        row.longest_ns = row.longest_ns.max(request.total_ns());
        let since_ns = request.times.start_ns.max(window_start_ns);
        row.lasted_ns = row.lasted_ns.saturating_add(request.times.end_ns.saturating_sub(since_ns));
        row.bytes_in = row.bytes_in.saturating_add(request.http.bytes_in);
        row.bytes_out = row.bytes_out.saturating_add(request.http.bytes_out);
    }

    fn row(&mut self, became: Became, method: &str, path_shape: String) -> Option<&mut Lasting> {
        let is_it = |row: &Lasting| {
            row.became == became && (row.method.as_str(), &row.path_shape) == (method, &path_shape)
        };
        let place = self.rows.iter().position(is_it);
        let is_full = self.rows.len() >= MAX_ROWS;
        let of_others = || self.rows.iter().position(|row| row.became == became && row.path_shape == OTHERS);
        let place = place.or_else(|| is_full.then(of_others).flatten()).unwrap_or_else(|| {
            let (method, path_shape) =
                if is_full { (String::new(), OTHERS.to_owned()) } else { (method.to_owned(), path_shape) };
            self.rows.push(Lasting {
                became,
                method,
                path_shape,
                count: 0,
                open: 0,
                longest_ns: 0,
                lasted_ns: 0,
                bytes_in: 0,
                bytes_out: 0,
            });
            self.rows.len() - 1
        });
        self.rows.get_mut(place)
    }

    /// The rows, what lasted longest in all first.
    pub(in crate::machine) fn finish(mut self) -> Vec<Lasting> {
        self.rows.sort_by(|a, b| {
            (b.lasted_ns, &a.method, &a.path_shape, a.became).cmp(&(
                a.lasted_ns,
                &b.method,
                &b.path_shape,
                b.became,
            ))
        });
        self.rows
    }
}

/// Name of what has no row of its own.
const OTHERS: &str = "(other)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::wire::request::{Active, Beginning};

    fn lasting(path: &str, (start_ns, end_ns): (u64, u64), open: bool) -> Request {
        let mut request = *Active::new(&Beginning::at(1, start_ns), 1, 1).request;
        (request.times.end_ns, request.http.path, request.seen.open) = (end_ns, path.to_owned(), open);
        request.http.method = "GET".to_owned();
        request
    }

    #[test]
    fn what_became_the_same_is_one_row_and_only_its_time_in_the_window_counts() {
        let mut all = Lastings::default();
        all.add(&lasting("/ws/7", (50, 150), false), Became::Upgraded, 100);
        all.add(&lasting("/ws/8", (120, 140), true), Became::Upgraded, 100);
        all.add(&lasting("/ws/7", (100, 110), true), Became::Stream, 100);
        let told: Vec<_> = all
            .finish()
            .into_iter()
            .map(|row| (row.became, row.path_shape, row.count, row.open, row.longest_ns, row.lasted_ns))
            .collect();
        let shape = || "/ws/{number}".to_owned();
        let expected = [(Became::Upgraded, shape(), 2, 1, 100, 70), (Became::Stream, shape(), 1, 1, 10, 10)];
        assert_eq!(told, expected);
    }

    #[test]
    fn rows_beyond_the_bound_are_one_of_each_kind() {
        let mut all = Lastings::default();
        for index in 0..MAX_ROWS + 9 {
            all.add(&lasting(&format!("/p{index}x"), (100, 110), false), Became::Upgraded, 100);
        }
        all.add(&lasting("/late", (100, 110), false), Became::Stream, 100);
        let rows = all.finish();
        let others: Vec<_> = rows.iter().filter(|row| row.path_shape == OTHERS).collect();
        assert_eq!((rows.len(), others.len()), (MAX_ROWS + 2, 2));
        assert_eq!(others.iter().map(|row| row.count).sum::<u64>(), 10);
    }
}
