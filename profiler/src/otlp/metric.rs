//! Requests added up, beside their spans: none is missing here, whatever the collector did not take.
//!
//! In: finished requests. Out: `http.server.request.duration` by the semantic conventions for HTTP, and the
//! request-seconds of each phase; cumulative, with a bounded number of series.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};
use profiler_core::model::request::Request;
use profiler_core::phase::{Phase, Phases};

use super::{number, text};

/// Upper bounds that the conventions advise for request durations, in seconds.
const BOUNDS_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Method and status pairs; what comes beyond counts as method `_OTHER` without a status.
const MAX_SERIES: usize = 200;
/// The conventions' name for a method that is not listed.
const OTHER: &str = "_OTHER";

/// Running sums over the whole export.
#[derive(Debug, Default)]
pub(super) struct Tally {
    series: BTreeMap<(String, u16), Series>,
    phases: Phases,
}

#[derive(Clone, Debug, Default)]
struct Series {
    count: u64,
    sum_ns: u64,
    buckets: [u64; BOUNDS_SECONDS.len() + 1],
}

impl Tally {
    /// Counts a finished request.
    pub(super) fn add(&mut self, request: &Request) {
        self.phases.add_all(&request.phases);
        let mut key = (request.http.method.clone(), request.http.status);
        if key.0.is_empty() || (self.series.len() >= MAX_SERIES && !self.series.contains_key(&key)) {
            key = (OTHER.to_owned(), 0);
        }
        let series = self.series.entry(key).or_default();
        let total_ns = request.total_ns();
        series.count = series.count.saturating_add(1);
        series.sum_ns = series.sum_ns.saturating_add(total_ns);
        let seconds = total_ns as f64 / 1e9;
        let place = BOUNDS_SECONDS.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = series.buckets.get_mut(place) {
            *bucket = bucket.saturating_add(1);
        }
    }

    /// The sums as metrics. `start_ns` and `now_ns` are on the wall clock.
    pub(super) fn metrics(&self, start_ns: u64, now_ns: u64) -> Vec<Metric> {
        let cumulative = AggregationTemporality::Cumulative as i32;
        let durations = self.series.iter().map(|((method, status), series)| {
            let mut attributes = vec![text("http.request.method", method)];
            if *status > 0 {
                attributes.push(number("http.response.status_code", u64::from(*status)));
            }
            HistogramDataPoint {
                attributes,
                start_time_unix_nano: start_ns,
                time_unix_nano: now_ns,
                count: series.count,
                sum: Some(series.sum_ns as f64 / 1e9),
                bucket_counts: series.buckets.to_vec(),
                explicit_bounds: BOUNDS_SECONDS.to_vec(),
                ..HistogramDataPoint::default()
            }
        });
        let phases = Phase::ALL.into_iter().map(|phase| NumberDataPoint {
            attributes: vec![text("wsgi_trace.phase", phase.name())],
            start_time_unix_nano: start_ns,
            time_unix_nano: now_ns,
            value: Some(Value::AsDouble(self.phases.get(phase) as f64 / 1e9)),
            ..NumberDataPoint::default()
        });
        vec![
            Metric {
                name: "http.server.request.duration".to_owned(),
                description: "From a request's first byte to the last write of its response".to_owned(),
                unit: "s".to_owned(),
                data: Some(Data::Histogram(Histogram {
                    data_points: durations.collect(),
                    aggregation_temporality: cumulative,
                })),
                ..Metric::default()
            },
            Metric {
                name: "wsgi_trace.request.phase.time".to_owned(),
                description: "Where the time of requests went".to_owned(),
                unit: "s".to_owned(),
                data: Some(Data::Sum(Sum {
                    data_points: phases.collect(),
                    aggregation_temporality: cumulative,
                    is_monotonic: true,
                })),
                ..Metric::default()
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn histogram(tally: &Tally) -> Vec<HistogramDataPoint> {
        match tally.metrics(1, 2).swap_remove(0).data {
            Some(Data::Histogram(histogram)) => histogram.data_points,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_request_is_in_one_bucket_of_one_series() {
        let mut tally = Tally::default();
        let requests = fixture::exhausted().0.requests.slowest;
        for request in &requests {
            tally.add(request);
        }
        let points = histogram(&tally);
        assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), requests.len() as u64);
        for point in points {
            assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
            assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        }
    }

    #[test]
    fn bound_belongs_to_the_bucket_below_it() {
        let mut tally = Tally::default();
        let mut request = fixture::exhausted().0.requests.slowest.remove(0);
        for total_ns in [5_000_000, 5_000_001, 11_000_000_000] {
            request.times.end_ns = request.times.start_ns + total_ns;
            tally.add(&request);
        }
        let point = histogram(&tally).remove(0);
        assert_eq!((point.bucket_counts[0], point.bucket_counts[1], point.bucket_counts[14]), (1, 1, 1));
    }

    #[test]
    fn series_are_bounded_and_nothing_beyond_is_left_out() {
        let mut tally = Tally::default();
        let mut request = fixture::exhausted().0.requests.slowest.remove(0);
        for status in 100..600 {
            request.http.status = status;
            tally.add(&request);
        }
        let points = histogram(&tally);
        assert!(points.len() <= MAX_SERIES + 1);
        assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), 500);
    }
}
