//! The page of a fleet for a browser: one self-contained file without script.
//!
//! In: a [`Page`]. Out: HTML with the style of the report's page.

use super::text::extent;
use super::{Answer, Page, SOURCE, shown};
use crate::report::html::sheet;

/// The whole page.
pub fn render(page: &Page) -> String {
    sheet("wsgi-trace: the fleet", |html| {
        html.raw("<header><h1>").text(&page.headline()).raw("</h1>");
        html.element("p", &extent(page));
        for doubt in page.doubts() {
            html.element("p", &doubt);
        }
        html.raw("</header>\n<main>\n");
        if !page.stands_out.is_empty() {
            html.raw("<section id=\"stands-out\"><h2>What stands out</h2><ol>");
            for notable in &page.stands_out {
                html.raw("<li><p><strong>").text(&notable.sentence).raw("</strong>");
                if let Some(day) = &notable.since {
                    html.raw(" Since ").text(day).raw(".");
                }
                html.raw("</p>").element("p", &notable.advice).raw("</li>");
            }
            html.raw("</ol></section>\n");
        }
        for answer in &page.answers {
            html.raw("<section><h2>").raw(answer.question.asks).raw("</h2>");
            rows(html, answer);
            html.raw("</section>\n");
        }
        html.raw("<p class=\"note\">").raw(SOURCE).raw("</p>\n</main>\n");
    })
}

fn rows(html: &mut crate::report::html::Html, answer: &Answer) {
    if answer.rows.is_empty() {
        html.raw("<p class=\"note\">none</p>");
        return;
    }
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"").raw(answer.question.asks);
    html.raw("\"><table><caption>").raw(answer.question.asks).raw("</caption><thead><tr>");
    for name in answer.question.columns {
        html.raw("<th scope=\"col\">").text(&name.replace('_', " ")).raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for row in &answer.rows {
        html.raw("<tr>");
        for name in answer.question.columns {
            let value = row.get(*name);
            let is_number = value.is_some_and(serde_json::Value::is_number);
            html.raw(if is_number { "<td class=\"number\">" } else { "<td>" });
            html.text(&shown(value)).raw("</td>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
}
