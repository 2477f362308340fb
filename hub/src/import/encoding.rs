//! Encoding: a CSV file's bytes become UTF-8. Excel in China writes GB18030 unless told otherwise, and says nowhere that it did.
//!
//! What a file is, is never guessed from its letters: a guess that is wrong once writes wrong names into the master. A mark at its start is believed;
//! without one it is UTF-8 unless the caller says otherwise, and a file that cannot be that is refused with what to try.

use std::borrow::Cow;

use super::{Faults, ImportError};

/// How a file's text is written as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// UTF-8, with or without a mark at the start.
    #[value(name = "utf-8")]
    Utf8,
    /// GB18030, and with it GBK and GB2312.
    #[value(name = "gb18030")]
    Gb18030,
}

const UTF_8_MARK: &[u8] = "\u{feff}".as_bytes();
/// U+FEFF in GB18030.
const GB18030_MARK: &[u8] = &[0x84, 0x31, 0x95, 0x33];

/// The text as UTF-8 without a mark. What is no UTF-8 stays in place when no encoding was named, so that the line and field can be reported.
///
/// # Errors
/// [`ImportError::Refused`] when the mark is that of another encoding, [`ImportError::Lines`] with the lines that are no GB18030.
pub(super) fn utf_8(bytes: &[u8], named: Option<Encoding>) -> Result<Cow<'_, [u8]>, ImportError> {
    let refused = |fault: &str, hint: &str| ImportError::Refused { fault: fault.to_owned(), hint: hint.to_owned() };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(refused("the file begins with the mark of UTF-16", "save it as CSV UTF-8"));
    }
    if let Some(rest) = bytes.strip_prefix(UTF_8_MARK) {
        if named == Some(Encoding::Gb18030) {
            return Err(refused("the file begins with the mark of UTF-8", "leave --encoding out"));
        }
        return Ok(Cow::Borrowed(rest));
    }
    match (bytes.strip_prefix(GB18030_MARK), named) {
        (Some(_), Some(Encoding::Utf8)) => {
            Err(refused("the file begins with the mark of GB18030", "leave --encoding out"))
        }
        (Some(rest), _) => from_gb18030(rest),
        (None, Some(Encoding::Gb18030)) => from_gb18030(bytes),
        (None, _) => Ok(Cow::Borrowed(bytes)),
    }
}

/// Line by line, so that a bad one can be named: a line feed is never part of a longer character of GB18030.
fn from_gb18030(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ImportError> {
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 2);
    let mut faults = Faults::default();
    for (number, line) in (1..).zip(bytes.split_inclusive(|&byte| byte == b'\n')) {
        match encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(line) {
            Some(line) => text.push_str(&line),
            None => faults.add(number, "line", "is not GB18030; leave --encoding out if the file is UTF-8"),
        }
    }
    faults.refuse()?;
    Ok(Cow::Owned(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gb18030_becomes_utf_8_with_rare_characters_too() {
        let text = "name\n张㛃\n𠮷野·艾力\n";
        let (gb, _, lossy) = encoding_rs::GB18030.encode(text);
        assert!(!lossy && std::str::from_utf8(&gb).is_err(), "the bytes are no UTF-8");
        assert_eq!(utf_8(&gb, Some(Encoding::Gb18030)).unwrap(), text.as_bytes());
        let marked = [GB18030_MARK, &gb].concat();
        assert_eq!(utf_8(&marked, None).unwrap(), text.as_bytes(), "a mark is believed");
    }

    #[test]
    fn a_file_of_another_encoding_is_refused_with_what_to_do() {
        let check = |bytes: &[u8], named, says: &str| {
            let said = utf_8(bytes, named).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        };
        check(b"\xff\xfea\0", None, "save it as CSV UTF-8");
        check("\u{feff}a".as_bytes(), Some(Encoding::Gb18030), "leave --encoding out");
        check(&[GB18030_MARK, b"a"].concat(), Some(Encoding::Utf8), "leave --encoding out");
        check(b"name\nWang\n\xff\xff\n", Some(Encoding::Gb18030), "line 3: line: is not GB18030");
    }
}
