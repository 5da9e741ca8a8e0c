//! Tables for people: columns as wide as their widest cell, two spaces between, no lines.

use super::{Paint, paint::Tone};

/// One cell: its text, and what it means.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.into(), tone: Tone::Plain }
    }
}

/// A cell with a meaning.
pub(crate) fn cell(text: impl Into<String>, tone: Tone) -> Cell {
    Cell { text: text.into(), tone }
}

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Table {
        Table { head: head.to_vec(), rows: vec![] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// The table, each line after `indent` spaces; `nothing` where it has no rows.
    pub(crate) fn render(&self, paint: Paint, indent: usize, nothing: &str) -> String {
        if self.rows.is_empty() {
            return format!("{:indent$}{}", "", paint.dim(nothing));
        }
        let head: Vec<Cell> = self.head.iter().map(|name| cell(*name, Tone::Dim)).collect();
        let lines = std::iter::once(&head).chain(&self.rows);
        let widths = self.widths();
        let lines: Vec<String> = lines.map(|cells| line(cells, &widths, paint, indent)).collect();
        lines.join("\n")
    }

    fn widths(&self) -> Vec<usize> {
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widest = |column: usize| cells(column).map(|cell| width(&cell.text)).max().unwrap_or(0);
        self.head.iter().enumerate().map(|(column, name)| width(name).max(widest(column))).collect()
    }
}

fn line(cells: &[Cell], widths: &[usize], paint: Paint, indent: usize) -> String {
    let mut line = " ".repeat(indent);
    for (at, (cell, width_of_column)) in cells.iter().zip(widths).enumerate() {
        line.push_str(&paint.tone(cell.tone, &cell.text));
        if at + 1 < cells.len() {
            line.push_str(&" ".repeat(width_of_column - width(&cell.text) + 2));
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Everything that tables show is a name, a number or plain words: one column for each character.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["a".into(), cell("✓ healthy", Tone::Good)]);
        table.row(["a-longer-name".into(), "".into()]);
        let text = table.render(Paint::plain(), 2, "none");
        assert_eq!(text, "  NAME           STATE\n  a              ✓ healthy\n  a-longer-name");
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(Table::new(&["NAME"]).render(Paint::plain(), 0, "no apps"), "no apps");
    }
}
