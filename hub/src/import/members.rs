//! Members from CSV: `number, name, [tier], [tier_valid_from], [tier_valid_to], [birthday], [segments], [phone], [active]`.
//!
//! The hub mints their ids; a number that is there already is changed: a column that is left out of the file leaves what is there, an empty field takes
//! it away. Several segments are separated by semicolons. A phone finds one active member of the group; what two share is reported, and so is every line
//! that cannot be read, and every tier that no published policy has: it would give its member nothing. Before the first policy, tiers are believed.
//! Invariant: no fault repeats a phone or a birthday.

use std::collections::HashMap;

use huitong_protocol::id::{MemberId, SegmentCode, TierCode};
use huitong_protocol::member::{Birthday, Member, MemberNumber, Phone, SEGMENTS_MAX, name_fault};
use huitong_protocol::time::BusinessDay;

use super::{Column, Faults, ImportError, ImportReport, Line, Options, Table, Written, apply};
use crate::publish;
use crate::store::engine::{Store, StoreError};
use crate::store::member::{self, Record};
use crate::store::phone_key;

const COLUMNS: &[Column] = &[
    Column::required("number"),
    Column::required("name"),
    Column::optional("tier"),
    Column::optional("tier_valid_from"),
    Column::optional("tier_valid_to"),
    Column::optional("birthday"),
    Column::optional("segments"),
    Column::optional("phone"),
    Column::optional("active"),
];

/// What a line says; `None` where its column is not in the file.
struct Row {
    number: MemberNumber,
    name: String,
    tier: Option<Option<TierCode>>,
    tier_valid_from: Option<Option<BusinessDay>>,
    tier_valid_to: Option<Option<BusinessDay>>,
    birthday: Option<Option<Birthday>>,
    segments: Option<Vec<SegmentCode>>,
    phone: Option<Option<Phone>>,
    active: Option<bool>,
}

impl Row {
    /// The member with this line over what was there.
    fn over(&self, before: Option<&Record>, new_id: MemberId) -> Record {
        let old = before.map(|before| &before.member);
        let member = Member {
            id: old.map_or(new_id, |old| old.id),
            number: self.number,
            name: self.name.clone(),
            pinyin: Vec::new(),
            tier: self.tier.unwrap_or_else(|| old.and_then(|old| old.tier)),
            tier_valid_from: self.tier_valid_from.unwrap_or_else(|| old.and_then(|old| old.tier_valid_from)),
            tier_valid_to: self.tier_valid_to.unwrap_or_else(|| old.and_then(|old| old.tier_valid_to)),
            birthday: self.birthday.unwrap_or_else(|| old.and_then(|old| old.birthday)),
            segments: self.segments.clone().unwrap_or_else(|| old.map(|old| old.segments.clone()).unwrap_or_default()),
            phone_hash: None,
            phone_masked: String::new(),
            active: self.active.unwrap_or_else(|| old.is_none_or(|old| old.active)),
        };
        let phone = self.phone.clone().unwrap_or_else(|| before.and_then(|before| before.phone.clone()));
        Record { member, phone }
    }
}

/// Imports members.
///
/// # Errors
/// [`ImportError`], with nothing written.
pub fn import(store: &Store, csv: &[u8], options: &Options) -> Result<ImportReport, ImportError> {
    let (key, tiers) = store.read_blocking(|tx| Ok::<_, StoreError>((phone_key::get(tx)?, publish::tiers(tx)?)))?;
    let table = Table::read("member", COLUMNS, csv, options.encoding)?;
    let (mut numbers, mut phones) = (HashMap::new(), HashMap::new());
    let rows = table.rows(|line| {
        let (number, name) = (line.parsed::<MemberNumber>("number"), line.needed("name").map(str::to_owned));
        if let Some(fault) = name.as_deref().and_then(name_fault) {
            line.fault("name", fault);
        }
        let day = |line: &mut Line<'_>, field| line.has(field).then(|| line.maybe(field).flatten());
        let (tier_valid_from, tier_valid_to) = (day(line, "tier_valid_from"), day(line, "tier_valid_to"));
        let birthday = line.has("birthday").then(|| quiet(line, "birthday", Birthday::new));
        let phone = line.has("phone").then(|| quiet(line, "phone", Phone::new));
        let tier = line.has("tier").then(|| line.maybe("tier").flatten());
        if let (Some(tier), Some(tiers)) = (tier.flatten(), &tiers)
            && !tiers.contains(&tier)
        {
            line.fault(
                "tier",
                format!("{tier} is in no policy that is published; correct it, or publish the tier first"),
            );
        }
        let segments = line.has("segments").then(|| segments(line));
        let active = line.has("active").then(|| line.yes_or_no("active").unwrap_or(true));
        if let Some(number) = number {
            line.unique("number", &mut numbers, number, &number);
        }
        if let Some(phone) = phone.iter().flatten().next().filter(|_| active != Some(false)) {
            line.unique("phone", &mut phones, phone.clone(), phone);
        }
        Some(Row {
            number: number?,
            name: name?,
            tier,
            tier_valid_from,
            tier_valid_to,
            birthday,
            segments,
            phone,
            active,
        })
    })?;
    options.progress.set_length(rows.len() as u64);
    apply(store, options, move |tx, progress| {
        let mut report = ImportReport::new("members", rows.len());
        let mut faults = Faults::default();
        let mut with_phone = Vec::new();
        for (line, row) in &rows {
            let before = member::find(tx, &row.number)?;
            // A new member's id is made when it is written; until then it is nobody's.
            let now = row.over(before.as_ref(), MemberId::FIRST);
            if let (Some(from), Some(to)) = (now.member.tier_valid_from, now.member.tier_valid_to)
                && to < from
            {
                // Written all the same, to be taken back with the others: what it says of the phone counts for them.
                faults.add(*line, "tier_valid_to", format!("{to} is before {from}, the first day of the tier"));
            }
            let written = member::write(tx, &key, before.as_ref(), &now)?;
            report.count(written);
            if let Some(phone) = now.phone.filter(|_| written != Written::Unchanged && now.member.active) {
                with_phone.push((*line, row.number, phone));
            }
            progress.inc(1);
        }
        // Looked at when all lines are written, since a phone may have moved from one member to another.
        for (line, number, phone) in &with_phone {
            if let Some(other) = member::other_with_phone(tx, &key.hash(phone), number)? {
                faults.add(
                    *line,
                    "phone",
                    format!("{phone} is the phone of member {other} too; it must find one of them"),
                );
            }
        }
        faults.refuse()?;
        Ok(report)
    })
}

/// A field whose text is not repeated when it is bad.
fn quiet<T, E: std::fmt::Display>(
    line: &mut Line<'_>,
    field: &'static str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let text = line.text(field)?;
    read(text).map_err(|why| line.fault(field, why.to_string())).ok()
}

fn segments(line: &mut Line<'_>) -> Vec<SegmentCode> {
    let mut segments = Vec::new();
    for text in line.list("segments") {
        match SegmentCode::new(text) {
            Ok(segment) => segments.push(segment),
            Err(why) => line.fault("segments", format!("{text:?} {why}")),
        }
    }
    segments.sort_unstable();
    segments.dedup();
    if segments.len() > SEGMENTS_MAX {
        line.fault("segments", format!("has {}; at most {SEGMENTS_MAX} are allowed", segments.len()));
    }
    segments
}
