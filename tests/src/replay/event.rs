//! The events of a replay: what customers did at tills, from CSV files, plain or gzipped.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use huitong_protocol::time::{BusinessDay, Instant};
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The household's card is sold with an initial load, for cash.
    Sell,
    /// The card is loaded again, for cash.
    Reload,
    /// The card pays.
    Spend,
    /// Goods come back without a receipt, their value onto the card.
    Refund,
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its number, rising by one.
    pub seq: u64,
    /// When, as written.
    pub ts: String,
    /// When.
    pub at: Instant,
    /// The local date.
    pub day: BusinessDay,
    /// Where.
    pub store: u32,
    /// Whose card.
    pub household: u32,
    /// What.
    pub kind: EventKind,
    /// How much, above zero.
    pub amount_minor: i64,
    /// The basket that it belongs to.
    pub basket: u64,
}

#[derive(Deserialize)]
struct Row {
    seq: u64,
    ts: String,
    store_id: u32,
    household_id: u32,
    kind: EventKind,
    amount_cents: i64,
    basket_id: u64,
}

/// Reads event files that follow each other.
///
/// # Errors
/// Names file, line and field.
pub fn read(paths: &[impl AsRef<Path>]) -> anyhow::Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let file = std::fs::File::open(path).with_context(|| format!("could not open {}", path.display()))?;
        let plain: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(flate2::read::GzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut reader = csv::Reader::from_reader(std::io::BufReader::new(plain));
        for (index, row) in reader.deserialize::<Row>().enumerate() {
            let place = || format!("{}, line {}", path.display(), index + 2);
            let event = event(&row.with_context(place)?).with_context(place)?;
            if let Some(last) = events.last() {
                ensure!(event.seq == last.seq + 1, "{}: seq is {}; {} should follow", place(), event.seq, last.seq + 1);
                ensure!(
                    event.day >= last.day,
                    "{}: ts goes back to {}; days must follow each other",
                    place(),
                    event.day
                );
            }
            events.push(event);
        }
    }
    if events.is_empty() {
        bail!("there are no events in these files");
    }
    Ok(events)
}

fn event(row: &Row) -> anyhow::Result<Event> {
    let at: jiff::Timestamp =
        row.ts.parse().with_context(|| format!("ts {:?} is not a time with its offset", row.ts))?;
    let day = row.ts.get(..10).unwrap_or(&row.ts).parse().with_context(|| format!("ts {:?} has no date", row.ts))?;
    ensure!(row.amount_cents > 0, "amount_cents is {}; it must be above zero", row.amount_cents);
    Ok(Event {
        seq: row.seq,
        ts: row.ts.clone(),
        at: Instant(at.as_millisecond()),
        day,
        store: row.store_id,
        household: row.household_id,
        kind: row.kind,
        amount_minor: row.amount_cents,
        basket: row.basket_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(rows: &str) -> anyhow::Result<Vec<Event>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.csv");
        std::fs::write(&path, format!("seq,ts,store_id,household_id,kind,amount_cents,basket_id\n{rows}")).unwrap();
        read(&[path])
    }

    #[test]
    fn the_business_day_is_the_local_date() {
        let events = read_text("1,2017-01-01T23:59:59-05:00,330,900,sell,1000,1\n").unwrap();
        assert_eq!(events[0].day.to_string(), "2017-01-01");
        assert_eq!(events[0].at, Instant(1_483_333_199_000));
    }

    #[test]
    fn a_bad_row_is_named() {
        let check = |rows: &str, says: &str| {
            let error = format!("{:#}", read_text(rows).unwrap_err());
            assert!(error.contains(says), "{error}");
        };
        check("1,2017-01-01T10:00:00-05:00,330,900,sell,0,1\n", "line 2: amount_cents is 0");
        check("1,yesterday,330,900,sell,1,1\n", "line 2: ts \"yesterday\"");
        check("1,2017-01-01T10:00:00-05:00,330,900,gift,1,1\n", "line 2");
        check(
            "1,2017-01-01T10:00:00-05:00,330,900,sell,1,1\n3,2017-01-01T10:00:00-05:00,330,900,sell,1,1\n",
            "line 3: seq is 3",
        );
        check("", "no events");
    }
}
