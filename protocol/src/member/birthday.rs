//! Birthday: a month and a day, with the year when it is known. Stores get it without.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::IdError;

/// A leap year, in which every day of any year exists.
const LEAP_YEAR: i16 = 2_000;

/// A birthday: `05-17`, or `1990-05-17` where the year is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Birthday {
    year: Option<i16>,
    month: i8,
    day: i8,
}

impl Birthday {
    /// Reads the text form. The 29th of February is a birthday; only with a year it must have existed.
    ///
    /// # Errors
    /// [`IdError::Form`] when there is no such day.
    pub fn new(text: &str) -> Result<Self, IdError> {
        const FORM: IdError = IdError::Form { expected: "a birthday like 05-17 or 1990-05-17" };
        let part = |part: Option<&str>, length: usize| {
            let part = part.filter(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_digit()))?;
            part.parse::<i16>().ok()
        };
        let mut parts = text.rsplitn(3, '-');
        let (day, month) = (part(parts.next(), 2).ok_or(FORM)?, part(parts.next(), 2).ok_or(FORM)?);
        let year = match parts.next() {
            None => None,
            year => Some(part(year, 4).filter(|year| *year >= 1_800).ok_or(FORM)?),
        };
        let (month, day) = (i8::try_from(month).map_err(|_| FORM)?, i8::try_from(day).map_err(|_| FORM)?);
        Date::new(year.unwrap_or(LEAP_YEAR), month, day).map_err(|_| FORM)?;
        Ok(Self { year, month, day })
    }

    /// The month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> i8 {
        self.month
    }

    /// The same day without its year: what a store may know.
    #[must_use]
    pub const fn without_year(self) -> Self {
        Self { year: None, ..self }
    }
}

impl fmt::Display for Birthday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(year) = self.year {
            write!(f, "{year:04}-")?;
        }
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

impl fmt::Debug for Birthday {
    /// Says nothing of the person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Birthday(..)")
    }
}

impl FromStr for Birthday {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for Birthday {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Birthday {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text is not repeated: it is a person's.
        Self::new(&String::deserialize(deserializer)?)
            .map_err(|why| serde::de::Error::custom(format_args!("birthday {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birthday_reads_back_with_and_without_its_year() {
        for text in ["05-17", "02-29", "1990-05-17", "2000-02-29"] {
            assert_eq!(Birthday::new(text).unwrap().to_string(), text);
        }
        assert_eq!(Birthday::new("1990-05-17").unwrap().without_year().to_string(), "05-17");
        for bad in
            ["", "5-17", "13-01", "02-30", "1900-02-29", "90-05-17", "0000-05-17", "05-17-1990", "05/17", "+5-17"]
        {
            assert!(Birthday::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_birthday_is_not_repeated() {
        let said = serde_json::from_str::<Birthday>("\"1990-13-17\"").unwrap_err().to_string();
        assert!(
            said.starts_with("birthday is not a birthday like 05-17 or 1990-05-17") && !said.contains("13-17"),
            "{said}"
        );
    }
}
