//! What a terminal shows, as a page that a browser can photograph.
//!
//! In: a terminal's screen. Out: HTML with the same letters, colours and weights, on the dark ground that
//! most terminals have.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

/// The sixteen colours of terminals, as a common one has them.
const COLOURS: [&str; 16] = [
    "#1c1f24", "#e0566a", "#7fb45a", "#d9a441", "#5b9bd8", "#b27ad6", "#47b0b0", "#c3c9d2", "#7a828e",
    "#f2798a", "#9ccf78", "#f0c46a", "#85b9ea", "#cf9ff0", "#6fd0cf", "#ffffff",
];
const GROUND: &str = "#14171b";
const INK: &str = "#d4d9e0";

/// The whole screen as a page.
pub fn page(screen: &Screen) -> String {
    let mut html = format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><style>body{{margin:0;padding:14px 18px;background:{GROUND};width:max-content}}\
         pre{{margin:0;color:{INK};font:15px/1.25 'DejaVu Sans Mono',monospace}}</style><pre>"
    );
    let (rows, columns) = screen.size();
    let lines: Vec<String> = (0..rows.get()).map(|row| line(screen, row, columns.get())).collect();
    let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    for line in lines.into_iter().take(used) {
        html.push_str(&line);
        html.push('\n');
    }
    html.push_str("</pre>");
    html
}

fn line(screen: &Screen, row: u16, columns: u16) -> String {
    let mut html = String::new();
    let mut style = String::new();
    let cells: Vec<Option<&Cell>> = (0..columns).map(|column| screen.cell(row, column)).collect();
    let is_blank = |cell: &Option<&Cell>| {
        cell.is_none_or(|cell| {
            cell.contents().trim().is_empty() && cell.bgcolor() == Color::Default && !cell.inverse()
        })
    };
    let used = cells.iter().rposition(|cell| !is_blank(cell)).map_or(0, |last| last + 1);
    for cell in cells.into_iter().take(used).flatten().filter(|cell| !cell.is_wide_continuation()) {
        let next = style_of(cell);
        if next != style {
            if !style.is_empty() {
                html.push_str("</span>");
            }
            if !next.is_empty() {
                // A string takes whatever is written to it.
                let _ = write!(html, "<span style=\"{next}\">");
            }
            style = next;
        }
        match cell.contents() {
            "" => html.push(' '),
            "<" => html.push_str("&lt;"),
            "&" => html.push_str("&amp;"),
            letter => html.push_str(letter),
        }
    }
    if !style.is_empty() {
        html.push_str("</span>");
    }
    html
}

fn style_of(cell: &Cell) -> String {
    let (mut ink, mut ground) = (colour(cell.fgcolor()), colour(cell.bgcolor()));
    if cell.inverse() {
        (ink, ground) =
            (Some(ground.unwrap_or_else(|| GROUND.to_owned())), Some(ink.unwrap_or_else(|| INK.to_owned())));
    }
    let mut style = String::new();
    for (name, value) in [("color", ink), ("background", ground)] {
        if let Some(value) = value {
            let _ = write!(style, "{name}:{value};");
        }
    }
    if cell.bold() {
        style.push_str("font-weight:bold;");
    }
    if cell.dim() {
        style.push_str("opacity:.6;");
    }
    style
}

fn colour(colour: Color) -> Option<String> {
    match colour {
        Color::Default => None,
        Color::Idx(index) => COLOURS.get(usize::from(index)).map(|&name| name.to_owned()),
        Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    #[test]
    fn letters_colours_and_weights_are_those_of_the_terminal() {
        let size = |number| NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN);
        let mut parser = vt100::Parser::new(size(3), size(20), 0);
        parser.process(b"a<b \x1b[1;31mred\x1b[0m\r\n\x1b[7mback\x1b[0m");
        let page = page(parser.screen());
        assert!(
            page.contains("a&lt;b <span style=\"color:#e0566a;font-weight:bold;\">red</span>\n"),
            "{page}"
        );
        assert!(
            page.contains("<span style=\"color:#14171b;background:#d4d9e0;\">back</span>\n</pre>"),
            "{page}"
        );
    }
}
