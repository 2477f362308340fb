//! Spool: the lines of a run between their computation, which looks at one moment and blocks nobody, and their booking, which holds the writer.
//!
//! A run over everything has millions of lines: they wait in a file without a name, which is gone with the process; those of a usual day stay in memory.
//! Lines are kept as they were given, batch by batch, parties and days by number. It knows nothing of what they mean.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use huitong_protocol::id::AccountId;
use huitong_protocol::money::Currency;
use huitong_protocol::party::Party;
use huitong_protocol::settlement::leg::{Leg, LegKind};
use huitong_protocol::time::BusinessDay;
use tempfile::SpooledTempFile;

/// Up to this size a run's lines stay in memory: some hundred thousand.
const MEMORY_BYTES_MAX: usize = 4 << 20;
/// One line: account, amount, debtor, creditor, day, kind.
const LINE_BYTES: usize = 8 + 8 + 4 + 4 + 4 + 1;

/// Instead of an account, for lines of none: accounts count from 1.
const NO_ACCOUNT: i64 = 0;

/// Lines that are being kept.
pub(super) struct Spool {
    file: BufWriter<SpooledTempFile>,
    parties: Numbered<Party>,
    days: Numbered<BusinessDay>,
}

/// Lines that were kept, to be read as often as needed.
pub(super) struct Spooled {
    file: Mutex<SpooledTempFile>,
    parties: Vec<Party>,
    days: Vec<BusinessDay>,
}

/// Values that were seen, each with a number.
struct Numbered<T> {
    numbers: HashMap<T, u32>,
    seen: Vec<T>,
}

impl<T: Copy + Eq + Hash> Numbered<T> {
    fn new() -> Self {
        Self { numbers: HashMap::new(), seen: Vec::new() }
    }

    fn number(&mut self, value: T) -> io::Result<u32> {
        if let Some(number) = self.numbers.get(&value) {
            return Ok(*number);
        }
        let number = u32::try_from(self.seen.len()).map_err(|_| io::Error::other("more values than numbers"))?;
        self.numbers.insert(value, number);
        self.seen.push(value);
        Ok(number)
    }
}

impl Spool {
    pub(super) fn new() -> Self {
        let file = BufWriter::new(tempfile::spooled_tempfile(MEMORY_BYTES_MAX));
        Self { file, parties: Numbered::new(), days: Numbered::new() }
    }

    /// Keeps a batch of lines, all in the currency of the run.
    pub(super) fn keep(&mut self, lines: &[Leg]) -> io::Result<()> {
        let count = u32::try_from(lines.len()).map_err(|_| io::Error::other("a batch is too large"))?;
        self.file.write_all(&count.to_le_bytes())?;
        for line in lines {
            let kind = LegKind::ALL.iter().position(|kind| *kind == line.kind).and_then(|at| u8::try_from(at).ok());
            let kind = kind.ok_or_else(|| io::Error::other("a kind of leg without a number"))?;
            self.file.write_all(&line.account.map_or(NO_ACCOUNT, AccountId::get).to_le_bytes())?;
            self.file.write_all(&line.amount_minor.to_le_bytes())?;
            self.file.write_all(&self.parties.number(line.debtor)?.to_le_bytes())?;
            self.file.write_all(&self.parties.number(line.creditor)?.to_le_bytes())?;
            self.file.write_all(&self.days.number(line.business_day)?.to_le_bytes())?;
            self.file.write_all(&[kind])?;
        }
        Ok(())
    }

    /// Ends keeping.
    pub(super) fn finish(self) -> io::Result<Spooled> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Spooled { file: Mutex::new(file), parties: self.parties.seen, days: self.days.seen })
    }
}

impl Spooled {
    /// Hands out the batches as they were kept, in a currency.
    pub(super) fn each<E: From<io::Error>>(
        &self,
        currency: Currency,
        mut each: impl FnMut(&[Leg]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(0))?;
        let mut file = BufReader::new(&mut *file);
        let mut lines = Vec::new();
        while let Some(count) = next_count(&mut file)? {
            lines.clear();
            for _ in 0..count {
                lines.push(self.read(&mut file, currency)?);
            }
            each(&lines)?;
        }
        Ok(())
    }

    fn read(&self, file: &mut impl Read, currency: Currency) -> io::Result<Leg> {
        let mut bytes = [0; LINE_BYTES];
        file.read_exact(&mut bytes)?;
        let long = |at: usize| i64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i])) as usize;
        let damaged = || io::Error::other("the lines that were kept aside are damaged");
        Ok(Leg {
            account: match long(0) {
                NO_ACCOUNT => None,
                number => Some(AccountId::new(number).map_err(|_| damaged())?),
            },
            amount_minor: long(8),
            debtor: *self.parties.get(number(16)).ok_or_else(damaged)?,
            creditor: *self.parties.get(number(20)).ok_or_else(damaged)?,
            business_day: *self.days.get(number(24)).ok_or_else(damaged)?,
            kind: *LegKind::ALL.get(usize::from(bytes[28])).ok_or_else(damaged)?,
            currency,
        })
    }
}

/// How many lines the next batch has; nothing at the end.
fn next_count(file: &mut impl Read) -> io::Result<Option<u32>> {
    let mut bytes = [0; 4];
    match file.read(&mut bytes[..1])? {
        0 => Ok(None),
        _ => file.read_exact(&mut bytes[1..]).map(|()| Some(u32::from_le_bytes(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_kept_however_many_and_however_often() {
        // Beyond what stays in memory, and so through a file.
        let batches: Vec<Vec<Leg>> = (0..40_i64)
            .map(|batch| {
                let line = |n: i64| Leg {
                    account: Some(AccountId::new(batch * 10_000 + n + 1).unwrap()),
                    business_day: "2026-09-01".parse().unwrap(),
                    kind: LegKind::ALL[usize::try_from(n).unwrap() % LegKind::ALL.len()],
                    debtor: format!("store:S{}", n % 7).parse().unwrap(),
                    creditor: Party::Hub,
                    currency: Currency::CNY,
                    amount_minor: i64::MIN + batch * n,
                };
                (0..batch * 200).map(line).collect()
            })
            .collect();
        let mut spool = Spool::new();
        batches.iter().for_each(|batch| spool.keep(batch).unwrap());
        let spooled = spool.finish().unwrap();
        assert!(spooled.file.lock().unwrap().is_rolled());
        for _ in 0..2 {
            let mut back: Vec<Vec<Leg>> = Vec::new();
            let kept = spooled.each(Currency::CNY, |lines| {
                back.push(lines.to_vec());
                Ok::<_, io::Error>(())
            });
            kept.unwrap();
            assert_eq!(back, batches);
        }
    }
}
