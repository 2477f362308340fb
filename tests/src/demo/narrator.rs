//! Narrator: one line per step: who, what it did and what came of it, and the command or request that did it.

use std::io::{self, Write};

/// Columns of who and what; commands follow, ragged.
const WHO_CELLS: usize = 4;
const WHAT_CELLS: usize = 78;

/// Tells the day, or keeps quiet.
pub(super) struct Narrator<'a> {
    out: &'a mut (dyn Write + Send),
    speaks: bool,
}

impl<'a> Narrator<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send), speaks: bool) -> Self {
        Self { out, speaks }
    }

    /// Begins a part of the day.
    pub(super) fn heading(&mut self, title: &str) -> io::Result<()> {
        if self.speaks { writeln!(self.out, "\n{title}") } else { Ok(()) }
    }

    /// Tells a step. Without a command it is something that happened to them.
    pub(super) fn step(&mut self, who: &str, what: &str, command: &str) -> io::Result<()> {
        if !self.speaks {
            return Ok(());
        }
        let line =
            format!("  {who:<WHO_CELLS$} {what}{}  {command}", " ".repeat(WHAT_CELLS.saturating_sub(cells(what))));
        writeln!(self.out, "{}", line.trim_end())
    }

    /// Shows what a command wrote, indented.
    pub(super) fn page(&mut self, text: &str) -> io::Result<()> {
        if !self.speaks {
            return Ok(());
        }
        text.lines().try_for_each(|line| writeln!(self.out, "{}", format!("       {line}").trim_end()))
    }
}

/// How many cells of a terminal a text takes; Chinese characters and their punctuation take two.
fn cells(text: &str) -> usize {
    text.chars()
        .map(|c| if matches!(u32::from(c), 0x2e80..=0x9fff | 0xf900..=0xfaff | 0xff00..=0xff60) { 2 } else { 1 })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_in_one_column_also_after_chinese_names() {
        let mut out = Vec::new();
        let mut narrator = Narrator::new(&mut out, true);
        narrator.step("S1", "opens 汇通", "day open").unwrap();
        narrator.step("S1", "opens", "day open").unwrap();
        let text = String::from_utf8(out).unwrap();
        let columns: Vec<usize> = text.lines().map(|line| cells(line.split("day open").next().unwrap())).collect();
        assert_eq!(columns, [2 + WHO_CELLS + 1 + WHAT_CELLS + 2; 2], "{text}");
    }

    #[test]
    fn a_quiet_one_says_nothing() {
        let mut out = Vec::new();
        let mut narrator = Narrator::new(&mut out, false);
        narrator.heading("Morning").unwrap();
        narrator.step("S1", "opens", "day open").unwrap();
        narrator.page("text").unwrap();
        assert!(out.is_empty());
    }
}
