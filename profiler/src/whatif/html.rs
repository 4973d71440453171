//! What is said of a recording, as a page for a browser: one self-contained file without script.
//!
//! In: a [`WhatIf`]. Out: HTML with the style of the report's page. Names of endpoints and back ends are
//! escaped.

use profiler_forecast::bounds::Without;
use profiler_forecast::quantiles::Quantiles;
use profiler_forecast::self_forecast::SelfForecast;

use super::forecast::{Forecast, WhatIf, limit_name};
use super::text::{
    ASSUMED, endpoints_by_time, head, none_because, notes, p99_range, searched, shown, shown_name,
};
use crate::report::escape::Charset;
use crate::report::html::{Html, begin_table, end_table, sheet};
use crate::report::unit::{duration, percent, rate};

/// Endpoints shown, those with the most time first.
const MAX_ENDPOINTS: usize = 50;
/// Width of a bar in units of its own.
const BAR_UNITS: u64 = 10_000;
const CHARSET: Charset = Charset::Unicode;

/// The whole page.
pub fn render(answer: &WhatIf) -> String {
    sheet("wsgi-trace: what would change", |html| {
        html.raw("<header><h1>What would change</h1>");
        for line in head(answer, CHARSET).lines() {
            html.element("p", line);
        }
        for reason in none_because(answer) {
            html.raw("<p class=\"verdict doubt\">").text(&reason).raw("</p>");
        }
        html.raw("</header>\n<main>\n");
        if !answer.forecasts.is_empty() {
            forecasts(html, answer);
        }
        bounds(html, answer);
        if let Some(itself) = &answer.self_forecast {
            self_forecast(html, itself);
        }
        html.raw("</main>\n");
    })
}

fn forecasts(html: &mut Html, answer: &WhatIf) {
    html.raw("<section id=\"forecast\"><h2>Forecast</h2><p class=\"note\">").text(&notes(answer)).raw("</p>");
    let names =
        ["", "p50, p90, p99", "p50", "p90", "p99", "range of p99", "served", "capacity", "next limit"];
    begin_table(html, "Response times at each setting", &names);
    let most_ns = answer.forecasts.iter().map(|one| p99_range(one)[1]).max().unwrap_or(0);
    for one in &answer.forecasts {
        forecast(html, answer, one, most_ns);
    }
    end_table(html);
    if let Some((goal, search)) = &answer.searched {
        html.element("p", searched(*goal, search, CHARSET).trim());
    }
    html.raw("<p class=\"note\">").raw(ASSUMED).raw("</p></section>\n");
}

fn forecast(html: &mut Html, answer: &WhatIf, one: &Forecast, most_ns: u64) {
    let of = &one.figures.overall;
    row(html, &one.name);
    html.raw("<td>");
    bar(html, of, most_ns);
    html.raw("</td>");
    let [least, most] = p99_range(one).map(|ns| duration(ns, CHARSET));
    for cell in [of.p50_ns, of.p90_ns, of.p99_ns].map(|ns| duration(ns, CHARSET)) {
        number(html, &cell);
    }
    number(html, &format!("{least} to {most}"));
    number(html, &rate(Some(one.figures.throughput_per_s)));
    number(html, &rate(Some(one.capacity.per_s)));
    let limit = limit_name(one.capacity.limit, &answer.model.load);
    html.element("td", &format!("{limit}, {} of it used", percent(Some(one.used_ratio)))).raw("</tr>");
}

/// The quantiles as one bar, paler from each to the next; `most_ns` is as long as the bar can be.
fn bar(html: &mut Html, of: &Quantiles, most_ns: u64) {
    let at = |ns: u64| {
        let units = u128::from(ns) * u128::from(BAR_UNITS) / u128::from(most_ns.max(1));
        u64::try_from(units).unwrap_or(BAR_UNITS).min(BAR_UNITS)
    };
    html.raw("<svg role=\"img\" preserveAspectRatio=\"none\" viewBox=\"0 0 10000 10\" class=\"bar thin quantiles\"");
    let [p50, p90, p99] = [of.p50_ns, of.p90_ns, of.p99_ns];
    let label = [p50, p90, p99].map(|ns| duration(ns, CHARSET)).join(", ");
    html.attribute("aria-label", &label).raw(">");
    for (from_ns, until_ns) in [(0, p50), (p50, p90), (p90, p99)] {
        html.raw("<rect height=\"10\"").attribute("x", &at(from_ns).to_string());
        html.attribute("width", &at(until_ns).saturating_sub(at(from_ns)).to_string()).raw("/>");
    }
    html.raw("</svg>");
}

fn bounds(html: &mut Html, answer: &WhatIf) {
    html.raw("<section id=\"at-best\"><h2>At best</h2><p class=\"note\">Bounds, no forecasts: ");
    html.raw("the wait is gone, and nothing else has changed.</p>");
    begin_table(html, "All requests, at best", &["", "p50, p90, p99", "p50", "p90", "p99"]);
    let overall = &answer.bounds.overall;
    let most_ns = overall.today.p99_ns;
    quantiles(html, "today, as measured", Some(&overall.today), most_ns);
    for (at, without) in Without::ALL.into_iter().enumerate() {
        let best = overall.without.get(at).filter(|_| is_bounded(answer, at));
        quantiles(html, &without.name().replace('_', " "), best, most_ns);
    }
    end_table(html);
    begin_table(
        html,
        "p99 of each endpoint, at best",
        &["", "today", "no GIL waits", "no slow clients", "no slot waits", "1 core more"],
    );
    for (name, best) in endpoints_by_time(answer).into_iter().take(MAX_ENDPOINTS) {
        row(html, name);
        number(html, &duration(best.today.p99_ns, CHARSET));
        for (at, without) in best.without.iter().enumerate() {
            let known = is_bounded(answer, at).then(|| duration(without.p99_ns, CHARSET));
            number(html, known.as_deref().unwrap_or("–"));
        }
        html.raw("</tr>");
    }
    end_table(html);
    html.raw("</section>\n");
}

fn is_bounded(answer: &WhatIf, at: usize) -> bool {
    answer.is_bounded.get(at).copied().unwrap_or(false)
}

fn quantiles(html: &mut Html, name: &str, of: Option<&Quantiles>, most_ns: u64) {
    row(html, name);
    match of {
        Some(of) => {
            html.raw("<td>");
            bar(html, of, most_ns);
            html.raw("</td>");
            for ns in [of.p50_ns, of.p90_ns, of.p99_ns] {
                number(html, &duration(ns, CHARSET));
            }
        }
        None => drop(html.raw("<td colspan=\"4\">not measured</td>")),
    }
    html.raw("</tr>");
}

fn self_forecast(html: &mut Html, itself: &SelfForecast) {
    html.raw("<section id=\"today\"><h2>Today, as measured and as simulated</h2>");
    begin_table(html, "Each figure", &["", "measured", "simulated", "differs", "may differ", ""]);
    for compared in &itself.figures {
        row(html, &shown_name(&compared.name));
        number(html, &shown(compared, compared.measured, CHARSET));
        number(html, &shown(compared, compared.simulated, CHARSET));
        number(html, &percent(compared.error_ratio()));
        number(html, &shown(compared, compared.allowed, CHARSET));
        html.element("td", if compared.holds() { "" } else { "too far" }).raw("</tr>");
    }
    end_table(html);
    html.raw("</section>\n");
}

fn row(html: &mut Html, name: &str) {
    html.raw("<tr><th scope=\"row\">").text(name).raw("</th>");
}

fn number(html: &mut Html, text: &str) {
    html.raw("<td class=\"number\">").text(text).raw("</td>");
}

#[cfg(test)]
mod tests {
    use profiler_forecast::change::Change;

    use super::super::forecast::{Ask, Asked};
    use super::super::tests::{calm, calm_snapshot};
    use super::*;

    #[test]
    fn a_page_has_a_bar_for_each_setting_and_shows_hostile_names_as_text() {
        let mut trace = calm();
        trace.requests.iter_mut().for_each(|request| "/<script>alert(1)".clone_into(&mut request.http.path));
        let changes = vec![("--workers 2".to_owned(), Asked::Plain(Change::Processes(2)))];
        let answer = WhatIf::of_replay(calm_snapshot(), &trace, &Ask { changes, ..Ask::default() }).unwrap();
        let page = render(&answer);
        assert!(page.contains("<th scope=\"row\">--workers 2</th>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "{page}");
        // Two forecasts; today and four bounds.
        assert_eq!(page.matches("class=\"bar thin quantiles\"").count(), 2 + 5, "{page}");
        assert!(page.contains(crate::whatif::judged::UNCHECKED) && page.contains(ASSUMED), "{page}");
    }

    #[test]
    fn a_page_without_a_forecast_says_why() {
        let mut snapshot = calm_snapshot();
        snapshot.coverage.losses.late = 1;
        let page = render(&WhatIf::of_replay(snapshot, &calm(), &Ask::default()).unwrap());
        assert!(
            page.contains("No forecast: records were lost") && !page.contains("id=\"forecast\""),
            "{page}"
        );
    }
}
