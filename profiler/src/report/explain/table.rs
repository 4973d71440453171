//! Tables of the guide whose rows are about words.
//!
//! In: the lines of a section. Out: its [`Row`]s.

use super::markdown::without_markup;

/// Columns that repeat what the first line says.
const FIRST_LINE: [&str; 2] = ["Meaning", "It means"];

/// A row of a table whose first cell names words.
pub(super) struct Row {
    /// The words.
    pub(super) names: Vec<&'static str>,
    cells: Vec<(&'static str, &'static str)>,
}

impl Row {
    /// The cell below a heading.
    pub(super) fn cell(&self, heading: &str) -> Option<&'static str> {
        self.cells.iter().find(|(column, _)| *column == heading).map(|(_, cell)| *cell)
    }

    /// `Do: restart it`; the heading of a column that ends in … is the beginning of its cells.
    pub(super) fn cells(&self) -> impl Iterator<Item = String> {
        let said =
            self.cells.iter().filter(|(column, cell)| !FIRST_LINE.contains(column) && !cell.is_empty());
        said.map(|(column, cell)| {
            let before = column.strip_suffix('…').map_or_else(|| format!("{column}: "), str::to_owned);
            let mut letters = before.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            without_markup(&format!("{}{}{cell}", first.unwrap_or_default(), letters.as_str()))
        })
    }
}

/// The rows of a section's tables.
pub(super) fn rows(body: &[&'static str]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut columns: Option<Vec<&'static str>> = None;
    for line in body {
        let Some(line) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            columns = None;
            continue;
        };
        let cells: Vec<&'static str> = line.split('|').map(str::trim).collect();
        match &columns {
            None => columns = Some(cells),
            Some(columns) => {
                let names = cells.first().map_or("", |first| *first).split('`').skip(1).step_by(2).collect();
                let cells = columns.iter().copied().zip(cells).skip(1).collect();
                rows.push(Row { names, cells });
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_its_words_and_says_each_cell_behind_its_heading() {
        let table = [
            "| Word | It means | was … | do |",
            "|---|---|---|---|",
            "| [`a`](#a), `b` | x | *there* | `it` |",
            "no row",
        ];
        let rows = rows(&table);
        let row = rows.last().unwrap();
        assert_eq!(row.names, ["a", "b"]);
        assert_eq!(row.cells().collect::<Vec<_>>(), ["Was there", "Do: it"]);
        assert_eq!(row.cell("It means"), Some("x"));
    }
}
