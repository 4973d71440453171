//! One endpoint: its times, where they went, its requests.
//!
//! In: a moment, and the endpoint. Out: as many lines as the screen has rows.

use ratatui::text::{Line, Span};

use super::list::EndpointKey;
use super::look::Look;
use super::model::Shown;
use super::paint::{Paint, Role};
use super::{facts, phases, section, with_table};
use crate::report::document::{self, endpoints};
use crate::report::{summary, unit};

pub(super) fn lines(
    shown: &Shown,
    look: &Look,
    key: &EndpointKey,
    paint: Paint,
    (width, rows): (usize, usize),
) -> Vec<Line<'static>> {
    let snapshot = &shown.snapshot;
    let is_it = |endpoint: &&profiler_core::model::Endpoint| {
        endpoint.method == key.method && endpoint.path_shape == key.shape && endpoint.status == key.status
    };
    let mut lines = vec![facts::title(shown, look, paint, width)];
    let found = snapshot.by_endpoint.list.iter().chain(&snapshot.by_endpoint.others).find(is_it);
    let name = match found {
        Some(endpoint) => endpoints::name(snapshot, endpoint),
        None => format!("{} {}", key.method, key.shape),
    };
    let name = format!("{name}  {}", endpoints::status(key.status));
    lines.push(Line::from(Span::styled(paint.quote(&name, width), paint.style(Role::Strong))));
    match found {
        None => lines.push(paint.line(Role::Quiet, "None of its requests has ended in this window.")),
        Some(endpoint) => {
            let rate = summary::per_second(endpoint.count, snapshot.window.length_ns());
            let mut text = format!("{} ({})", unit::counted(endpoint.count, "request"), unit::rate(rate));
            if endpoint.total.count() > 0 {
                for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("longest", 1.0)] {
                    let value = unit::duration(endpoint.total.quantile_ns(quantile), paint.charset);
                    text.push_str(&format!("  {name} {value}"));
                }
            }
            if endpoint.open.count > 0 {
                text.push_str(&format!("  {}", document::header::still_open(&endpoint.open)));
            }
            lines.push(paint.line(Role::Plain, &text));
            let text =
                format!("{} in, {} out", unit::bytes(endpoint.bytes_in), unit::bytes(endpoint.bytes_out));
            lines.push(paint.line(Role::Quiet, &text));
            lines.push(Line::default());
            let whole = endpoints::whole(endpoint);
            lines.extend(phases::lines(&whole, "time", paint, width));
            let table = section::block(&document::phases::detail("", &whole, ""), paint, width);
            lines.extend(table.into_iter().take(rows.saturating_sub(lines.len()) / 2));
        }
    }
    lines.push(Line::default());
    with_table(lines, shown, look, paint, (width, rows))
}
