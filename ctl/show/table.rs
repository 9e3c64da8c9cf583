//! Tables for people: columns, no lines, colour where it is wanted.

use comfy_table::{Attribute, Cell as Drawn, CellAlignment, Color, Table as Drawing, presets};

use crate::show::text::clean;

/// Longest text of a cell, in characters.
const CELL_LIMIT: usize = 60;

/// What a piece of text means, and so how it is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Busy,
    Faint,
}

/// One cell: text, cleaned and shortened when it is made.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: &str, tone: Tone) -> Self {
        Self { text: super::text::shorten(&clean(text), CELL_LIMIT), tone }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Tone::Plain)
    }
}

/// A heading and rows of as many cells.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    heading: [&'static str; COLUMNS],
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(crate) fn new(heading: [&'static str; COLUMNS]) -> Self {
        Self { heading, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: [Cell; COLUMNS]) {
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, without blanks at their ends.
    pub(crate) fn render(&self, color: bool) -> Vec<String> {
        let mut drawing = Drawing::new();
        drawing.load_style(presets::NOTHING);
        if color {
            drawing.enforce_styling();
        } else {
            drawing.force_no_tty();
        }
        drawing.set_header(self.heading.map(|name| Drawn::new(name).add_attribute(Attribute::Bold)));
        for row in &self.rows {
            drawing.add_row(row.iter().map(draw));
        }
        for column in drawing.column_iter_mut() {
            column.set_padding((0, 2));
            column.set_cell_alignment(CellAlignment::Left);
        }
        drawing.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

fn draw(cell: &Cell) -> Drawn {
    let drawn = Drawn::new(&cell.text);
    match cell.tone {
        Tone::Plain => drawn,
        Tone::Good => drawn.fg(Color::DarkGreen),
        Tone::Bad => drawn.fg(Color::DarkRed),
        Tone::Busy => drawn.fg(Color::DarkCyan),
        Tone::Faint => drawn.add_attribute(Attribute::Dim),
    }
}

/// Ids cut to the shortest length at which all of them differ: at least 13
/// characters, for ids made in the same moment begin alike.
pub(crate) fn short_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> usize {
    const SHORTEST: usize = 13;
    let mut sorted: Vec<&str> = ids.into_iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let common = |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    let longest = sorted.windows(2).map(common).max().unwrap_or(0) + 1;
    // Not to end with a hyphen.
    match longest.max(SHORTEST) {
        14 | 19 | 24 => longest.max(SHORTEST) + 1,
        length => length,
    }
}

/// The first characters of an id.
pub(crate) fn short_id(id: &str, length: usize) -> &str {
    id.get(..length).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_blanks() {
        let mut table = Table::new(["ID", "NAME"]);
        table.row(["a".into(), "x\u{1b}[0m".into()]);
        table.row(["longer".into(), "".into()]);
        assert_eq!(table.render(false), ["ID      NAME", "a       x[0m", "longer"]);
    }

    #[test]
    fn colour_comes_only_when_asked_for() {
        let mut table = Table::new(["STATE"]);
        table.row([Cell::new("failed", Tone::Bad)]);
        assert!(!table.render(false).concat().contains('\u{1b}'));
        assert!(table.render(true).concat().contains("\u{1b}["));
    }

    #[test]
    fn ids_are_as_short_as_they_can_be_and_still_differ() {
        let one = "01934f2a-7b3c-7d1e-8f00-0123456789ab";
        assert_eq!(short_ids([one]), 13);
        let same_moment = "01934f2a-7b3c-7d2e-8f00-0123456789ab";
        assert_eq!(short_id(one, short_ids([one, same_moment])), "01934f2a-7b3c-7d1");
        assert_eq!(short_ids([one, one]), 13);
        assert_eq!(short_id("short", 13), "short");
    }
}
