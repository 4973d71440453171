//! The alerts of `dashboards/alerts.yml`, as the guide says them.
//!
//! In: nothing. Out: each alert's name and meaning.

use super::markdown::{sections, without_markup};
use super::table::rows;

/// The pages that say what each alert means and what to do.
pub(super) const PAGES: [&str; 2] =
    [include_str!("../../../../docs/alerts.md"), include_str!("../../../../docs/alerts-on-findings.md")];

/// Every alert, with what it means.
pub(super) fn all() -> impl Iterator<Item = (String, String)> {
    let bodies = PAGES.into_iter().flat_map(sections).map(|(_, body)| body);
    let rows = bodies.flat_map(|body| rows(&body));
    rows.filter_map(|row| {
        let meaning = row.cell("It means")?;
        Some(((*row.names.first()?).to_owned(), without_markup(meaning)))
    })
}
