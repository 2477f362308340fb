//! Reads a CSV file into lines whose fields are known by name, and judges single fields.
//!
//! Invariant: what comes out has exactly the columns of the noun, each field valid UTF-8 without control characters and of bounded length.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use huitong_protocol::card::CardNumber;
use huitong_protocol::money::Currency;
use huitong_protocol::till::AMOUNT_MINOR_MAX;

use super::encoding::{self, Encoding};
use super::{Faults, ImportError};

/// The longest field in bytes: longer than any name or code, shorter than what a missing quote swallows.
const FIELD_BYTES_MAX: usize = 400;
/// The same for a field with several values: as many barcodes or segments as one thing may have.
const LIST_BYTES_MAX: usize = 4_096;
/// The longest name of an unknown column that is repeated, in bytes.
const NAME_BYTES_MAX: usize = 24;

const NOT_UTF_8: &str = "is not UTF-8; try --encoding gb18030, or save the file as CSV UTF-8";

/// A column of a file.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in the header.
    pub name: &'static str,
    /// Whether the header must have it.
    pub required: bool,
}

impl Column {
    /// A column that must be there.
    #[must_use]
    pub const fn required(name: &'static str) -> Self {
        Self { name, required: true }
    }

    /// A column that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str) -> Self {
        Self { name, required: false }
    }
}

/// A file as text, by line.
#[derive(Debug)]
pub struct Table {
    columns: &'static [Column],
    /// Where each column of the noun stands in the file.
    places: Vec<Option<usize>>,
    lines: Vec<(u64, csv::ByteRecord)>,
}

/// One line while it is judged. Every fault goes into the file's list.
#[derive(Debug)]
pub struct Line<'a> {
    table: &'a Table,
    record: &'a csv::ByteRecord,
    /// Its number in the file.
    pub number: u64,
    faults: &'a mut Faults,
    good: bool,
}

impl Table {
    /// Reads a file and checks its header.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] and [`ImportError::Header`]; a file of another encoding is refused with what to try.
    pub fn read(
        kind: &'static str,
        columns: &'static [Column],
        bytes: &[u8],
        encoding: Option<Encoding>,
    ) -> Result<Self, ImportError> {
        let bytes = &*encoding::utf_8(bytes, encoding)?;
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
        let mut records = reader.byte_records();
        let header = match records.next() {
            Some(header) => header.map_err(|error| ImportError::Unreadable(error.to_string()))?,
            None => csv::ByteRecord::new(),
        };
        let places = places(columns, &header).map_err(|fault| ImportError::Header {
            kind,
            fault,
            columns: columns
                .iter()
                .map(|c| if c.required { c.name.to_owned() } else { format!("[{}]", c.name) })
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        let mut lines = Vec::new();
        let mut faults = Faults::default();
        for record in records {
            let record = record.map_err(|error| ImportError::Unreadable(error.to_string()))?;
            let number = record.position().map_or(0, |position| line_of(bytes, position));
            if record.len() != header.len() {
                faults.add(number, "line", format!("has {} fields; the header has {}", record.len(), header.len()));
            }
            lines.push((number, record));
        }
        faults.refuse()?;
        Ok(Self { columns, places, lines })
    }

    /// How many lines have values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether no line has values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Judges every line; `take` gives nothing for a bad one. Keeps the line's number beside each row.
    ///
    /// # Errors
    /// [`ImportError::Lines`] with all bad values.
    pub fn rows<T>(&self, mut take: impl FnMut(&mut Line<'_>) -> Option<T>) -> Result<Vec<(u64, T)>, ImportError> {
        let mut faults = Faults::default();
        let mut rows = Vec::with_capacity(self.lines.len());
        for (number, record) in &self.lines {
            let mut line = Line { table: self, record, number: *number, faults: &mut faults, good: true };
            let row = take(&mut line);
            if let (Some(row), true) = (row, line.good) {
                rows.push((*number, row));
            }
        }
        faults.refuse()?;
        Ok(rows)
    }
}

/// The line on which a record begins; the reader counts blank lines before it as part of it.
fn line_of(bytes: &[u8], position: &csv::Position) -> u64 {
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let blank = bytes.get(start..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + blank.filter(|&&byte| byte == b'\n').map(|_| 1).sum::<u64>()
}

/// Whether a text in the first line can be said aloud: it looks like a column's name and not like anything of anybody's.
fn is_column_like(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'))
}

fn places(columns: &[Column], header: &csv::ByteRecord) -> Result<Vec<Option<usize>>, String> {
    if header.is_empty() {
        return Err("the file is empty".to_owned());
    }
    if header.iter().any(|name| std::str::from_utf8(name).is_err()) {
        return Err(format!("it {NOT_UTF_8}"));
    }
    let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
    let mut faults = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if !columns.iter().any(|column| column.name == name) {
            // A file without a header begins with somebody's name, phone or card.
            faults.push(match is_column_like(name) {
                true => format!("column {name:?} is unknown"),
                false => format!("column {} is unknown (is the line with the columns' names missing?)", index + 1),
            });
        } else if names[..index].contains(name) {
            faults.push(format!("column {name:?} is there twice"));
        }
    }
    let places: Vec<Option<usize>> =
        columns.iter().map(|column| names.iter().position(|name| name == column.name)).collect();
    for (column, place) in columns.iter().zip(&places) {
        if column.required && place.is_none() {
            faults.push(format!("column {:?} is missing", column.name));
        }
    }
    if faults.is_empty() { Ok(places) } else { Err(faults.join("; ")) }
}

impl<'a> Line<'a> {
    /// Reports what is wrong with a field.
    pub fn fault(&mut self, field: &str, reason: impl Into<String>) {
        self.good = false;
        self.faults.add(self.number, field, reason);
    }

    /// A field as text; nothing when it is empty or its column is not in the file.
    pub fn text(&mut self, field: &'static str) -> Option<&'a str> {
        self.text_within(field, FIELD_BYTES_MAX)
    }

    fn text_within(&mut self, field: &'static str, bytes_max: usize) -> Option<&'a str> {
        let place = self.table.columns.iter().position(|column| column.name == field)?;
        let bytes = self.record.get(self.table.places[place]?)?;
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.fault(field, NOT_UTF_8);
            return None;
        };
        if text.len() > bytes_max {
            let words = format!("has {} bytes; at most {bytes_max} are allowed (is a quote missing?)", text.len());
            self.fault(field, words);
            return None;
        }
        if text.chars().any(char::is_control) {
            self.fault(field, "has a control character or a line break");
            return None;
        }
        (!text.is_empty()).then_some(text)
    }

    /// Whether the file has the column at all.
    #[must_use]
    pub fn has(&self, field: &'static str) -> bool {
        let place = self.table.columns.iter().position(|column| column.name == field);
        place.is_some_and(|place| self.table.places[place].is_some())
    }

    /// A field that says yes or no; `None` when it is empty or neither, and neither is reported.
    pub fn yes_or_no(&mut self, field: &'static str) -> Option<bool> {
        match self.text(field)? {
            "1" | "yes" | "true" | "是" => Some(true),
            "0" | "no" | "false" | "否" => Some(false),
            other => {
                self.fault(field, format!("{other:?} is neither yes nor no"));
                None
            }
        }
    }

    /// A field with several values, separated by semicolons.
    pub fn list(&mut self, field: &'static str) -> Vec<&'a str> {
        let text = self.text_within(field, LIST_BYTES_MAX).unwrap_or_default();
        text.split([';', '；']).map(str::trim).filter(|part| !part.is_empty()).collect()
    }

    /// A field that must have something in it.
    pub fn needed(&mut self, field: &'static str) -> Option<&'a str> {
        let before = self.good;
        let text = self.text(field);
        // An unreadable field was reported already.
        if text.is_none() && before == self.good {
            self.fault(field, "is empty");
        }
        text
    }

    /// A field that is one of ours: an id, a day, a kind.
    pub fn parsed<T: FromStr>(&mut self, field: &'static str) -> Option<T>
    where
        T::Err: Display,
    {
        let text = self.needed(field)?;
        self.parse(field, text)
    }

    /// As [`Line::parsed`], when there is something; the outer `None` means a bad value.
    pub fn maybe<T: FromStr>(&mut self, field: &'static str) -> Option<Option<T>>
    where
        T::Err: Display,
    {
        let before = self.good;
        match self.text(field) {
            Some(text) => self.parse(field, text).map(Some),
            None => (before == self.good).then_some(None),
        }
    }

    /// A card's number. No report repeats one, also not when it has a slip in it.
    pub fn card(&mut self, field: &'static str) -> Option<CardNumber> {
        let text = self.needed(field)?;
        self.card_number(field, text)
    }

    /// As [`Line::card`], when there is something; the outer `None` means a bad value.
    pub fn maybe_card(&mut self, field: &'static str) -> Option<Option<CardNumber>> {
        let before = self.good;
        match self.text(field) {
            Some(text) => self.card_number(field, text).map(Some),
            None => (before == self.good).then_some(None),
        }
    }

    fn card_number(&mut self, field: &'static str, text: &str) -> Option<CardNumber> {
        CardNumber::new(text).map_err(|why| self.fault(field, why.to_string())).ok()
    }

    fn parse<T: FromStr>(&mut self, field: &'static str, text: &str) -> Option<T>
    where
        T::Err: Display,
    {
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.fault(field, format!("{text:?} {why}"));
                None
            }
        }
    }

    /// An amount above zero, as decimal text with at most the currency's places.
    pub fn amount(&mut self, field: &'static str, currency: Currency) -> Option<i64> {
        let text = self.needed(field)?;
        match money(text, currency) {
            Ok(minor) if minor > AMOUNT_MINOR_MAX => {
                self.fault(
                    field,
                    format!("{text:?} is more than any card can hold; is it a number of another column?"),
                );
                None
            }
            Ok(minor) if minor > 0 => Some(minor),
            Ok(_) => {
                self.fault(field, format!("{text:?} is not above zero"));
                None
            }
            Err(why) => {
                self.fault(field, format!("{text:?} {why}"));
                None
            }
        }
    }

    /// Reports a key that an earlier line has, with both lines.
    pub fn unique<K: std::hash::Hash + Eq>(
        &mut self,
        field: &'static str,
        seen: &mut HashMap<K, u64>,
        key: K,
        shown: &dyn Display,
    ) {
        if let Some(first) = seen.get(&key) {
            let reason = format!("{shown} stands in line {first} and again in line {}", self.number);
            self.fault(field, reason);
        } else {
            seen.insert(key, self.number);
        }
    }
}

/// Reads decimal text exactly into minor units: `12`, `12.3` and `-12.34` for a currency of two places. No thousands, no exponent, no float.
///
/// # Errors
/// What is wrong, in words that follow the text.
pub fn money(text: &str, currency: Currency) -> Result<i64, String> {
    let places = currency.exponent() as usize;
    let (sign, digits) = text.strip_prefix('-').map_or((1_i128, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || (digits.contains('.') && fraction.is_empty())
    {
        return Err("is not an amount like 12.34 (digits and one point, no thousands separators)".to_owned());
    }
    if fraction.len() > places {
        return Err(format!("has {} decimal places; {currency} has {places}", fraction.len()));
    }
    if whole.len() > 18 {
        return Err("is too large".to_owned());
    }
    let minor = format!("{whole}{fraction:0<places$}").parse::<i128>().map_err(|_| "is too large".to_owned())?;
    i64::try_from(sign * minor).map_err(|_| "is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: &[Column] = &[Column::required("code"), Column::required("name"), Column::optional("note")];

    #[test]
    fn money_is_read_exactly_or_refused() {
        let good = |text: &str, minor| assert_eq!(money(text, Currency::CNY), Ok(minor), "{text}");
        good("12.34", 1234);
        good("12.3", 1230);
        good("12", 1200);
        good("-0.05", -5);
        good("0.29", 29);
        good("92233720368547758.07", i64::MAX);
        for bad in
            ["", ".", ".5", "1.", "1.234", "1,234.00", "1e3", "+1", "--1", "¥1", "92233720368547758.08", "1 000", "٣"]
        {
            assert!(money(bad, Currency::CNY).is_err(), "{bad}");
        }
        assert!(money("1.5", "JPY".parse().unwrap()).is_err(), "the yen has no places");
    }

    proptest! {
        #[test]
        fn what_money_prints_reads_back(minor in any::<i64>()) {
            let text = huitong_protocol::money::Money { minor, currency: Currency::CNY }.decimal();
            prop_assert_eq!(money(&text, Currency::CNY), Ok(minor));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(table) = Table::read("test", COLUMNS, &bytes, None) {
                let _ = table.rows(|line| line.needed("code").map(str::to_owned));
            }
        }
    }

    #[test]
    fn the_header_names_all_its_faults() {
        let fault = |header: &str| match Table::read("test", COLUMNS, header.as_bytes(), None) {
            Err(ImportError::Header { fault, .. }) => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(""), "the file is empty");
        assert_eq!(
            fault("code,colour,code\n"),
            "column \"colour\" is unknown; column \"code\" is there twice; column \"name\" is missing"
        );
    }

    #[test]
    fn a_file_without_a_header_is_not_repeated() {
        for first in
            ["6601000000000001", "王小明", "Li Lei", "li.lei@example.com", "13800138000", "a-name-that-no-column-has"]
        {
            let file = format!("code,name,{first}\n");
            let Err(ImportError::Header { fault, .. }) = Table::read("test", COLUMNS, file.as_bytes(), None) else {
                panic!("must be refused")
            };
            assert_eq!(fault, "column 3 is unknown (is the line with the columns' names missing?)", "{first}");
        }
    }

    #[test]
    fn a_list_may_be_longer_than_a_name() {
        let codes: Vec<String> = (0..32).map(|n| format!("{n:064}")).collect();
        let file = format!("code,name,note\n{0},x,{0}\n", codes.join(";"));
        let table = Table::read("test", COLUMNS, file.as_bytes(), None).unwrap();
        let listed = table.rows(|line| Some(line.list("note").len())).unwrap();
        assert_eq!(listed, [(2, 32)]);
        assert!(table.rows(|line| line.text("code").map(str::to_owned)).is_err());
    }

    #[test]
    fn a_mark_at_the_start_and_blank_lines_are_no_fault() {
        let table = Table::read("test", COLUMNS, "\u{feff}Name, code\n\n苏州, A1\n".as_bytes(), None).unwrap();
        let rows = table.rows(|line| Some((line.needed("code")?.to_owned(), line.needed("name")?.to_owned()))).unwrap();
        assert_eq!(rows, [(3, ("A1".to_owned(), "苏州".to_owned()))]);
    }

    #[test]
    fn an_amount_has_a_floor_and_a_ceiling() {
        const AMOUNTS: &[Column] = &[Column::required("amount")];
        let table =
            Table::read("test", AMOUNTS, b"amount\n0.01\n1000000000.00\n1000000000.01\n0.00\n-1\n", None).unwrap();
        let Err(ImportError::Lines(faults)) = table.rows(|line| line.amount("amount", Currency::CNY)) else {
            panic!("must be refused")
        };
        let said: Vec<String> = faults.shown.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "line 4: amount: \"1000000000.01\" is more than any card can hold; is it a number of another column?",
                "line 5: amount: \"0.00\" is not above zero",
                "line 6: amount: \"-1\" is not above zero"
            ]
        );
        let table = Table::read("test", AMOUNTS, b"amount\n0.01\n1000000000.00\n", None).unwrap();
        let rows = table.rows(|line| line.amount("amount", Currency::CNY)).unwrap();
        assert_eq!(rows, [(2, 1), (3, AMOUNT_MINOR_MAX)]);
    }

    #[test]
    fn every_bad_line_is_named() {
        let table = Table::read("test", COLUMNS, b"code,name\n,x\nA,\xff\nB,a\tb\n", None).unwrap();
        let Err(ImportError::Lines(faults)) = table.rows(|line| {
            let (code, name) = (line.needed("code"), line.needed("name"));
            Some((code?.to_owned(), name?.to_owned()))
        }) else {
            panic!("must be refused")
        };
        let said: Vec<String> = faults.shown.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "line 2: code: is empty",
                "line 3: name: is not UTF-8; try --encoding gb18030, or save the file as CSV UTF-8",
                "line 4: name: has a control character or a line break"
            ]
        );
        assert!(
            matches!(Table::read("test", COLUMNS, b"code,name\nA\n", None), Err(ImportError::Lines(_))),
            "too few fields"
        );
    }
}
