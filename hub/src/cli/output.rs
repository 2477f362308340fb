//! Output: one JSON document, or text with columns that align, Chinese characters counted as two cells.

use std::io::{self, Write};

use serde::Serialize;

/// Where a command's result goes, and in which form.
pub struct Output<'a> {
    out: &'a mut dyn Write,
    json: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Self { out, json }
    }

    /// Whether JSON is asked for.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes a value as JSON, or what `text` says of it.
    pub(crate) fn show<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.json { self.value(value) } else { text(self.out) }
    }

    /// Writes a value as JSON.
    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *self.out, value)?;
        writeln!(self.out)
    }

    /// Writes text as it is.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes rows in columns as wide as their widest cell. A header that begins with `>` aligns its column to the right.
pub(crate) fn table(out: &mut dyn Write, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let titles: Vec<String> = header.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
    let widths: Vec<usize> = (0..titles.len())
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .chain([&titles[column]])
                .map(|cell| cells(cell))
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[column].saturating_sub(cells(cell)));
            if column > 0 {
                line.push_str("  ");
            }
            if header[column].starts_with('>') {
                line.push_str(&gap);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&gap);
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// How many cells of a terminal a text takes: two for East Asian wide characters (Unicode UAX 11, the blocks that names use).
fn cells(text: &str) -> usize {
    text.chars().map(|c| if matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x20000..=0x3fffd) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_with_chinese_names() {
        let mut out = Vec::new();
        let rows = vec![
            vec!["S1".to_owned(), "观前街店".to_owned(), "1".to_owned()],
            vec!["S22".to_owned(), "East".to_owned(), "12".to_owned()],
        ];
        table(&mut out, &["store", "name", ">cards"], &rows).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "store  name      cards\nS1     观前街店      1\nS22    East         12\n"
        );
    }
}
