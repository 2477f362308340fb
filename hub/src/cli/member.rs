//! `huitong-hub member`: members in, found and shown.
//!
//! What is shown can be seen over a shoulder: names are masked in lists, phones and cards always, and of a birthday there is no year.

use clap::Subcommand;
use huitong_protocol::id::{SegmentCode, TierCode};
use huitong_protocol::member::{MemberCard, MemberFound, MemberNumber, SEARCH_BYTES_MAX, SEARCH_RESULTS_MAX};
use serde_json::json;

use super::organisation::Import;
use super::output::table;
use super::{Failure, Output, Place, World};
use crate::import;
use crate::store::engine::StoreError;
use crate::store::member::Record;
use crate::store::{member, phone_key};

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Import members: number, name, [tier], [tier_valid_from], [tier_valid_to], [birthday], [segments], [phone], [active].
    Import(Import),
    /// Find members by what number, name, pinyin or initials begin with, by phone, or by the last four digits of phone or card.
    Find {
        /// What is known: `zs`, `zhangsan`, 张三, 5678 …
        text: String,
    },
    /// Show a member.
    Show {
        /// The number.
        number: MemberNumber,
    },
}

impl MemberCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Import(import) => import.run(world, place, out, import::members::import),
            Self::Find { text } => find(place, &text, out),
            Self::Show { number } => show(place, number, out),
        }
    }
}

fn find(place: &Place, question: &str, out: &mut Output<'_>) -> Result<(), Failure> {
    if question.len() > SEARCH_BYTES_MAX {
        return Err(Failure::Refused(format!(
            "the text has {} bytes; at most {SEARCH_BYTES_MAX} are allowed",
            question.len()
        )));
    }
    let mut records: Vec<Record> = place.open()?.read_blocking(|tx| {
        let key = phone_key::get(tx)?;
        member::search(tx, &key, question)
    })?;
    let more = records.len() > SEARCH_RESULTS_MAX;
    records.truncate(SEARCH_RESULTS_MAX);
    let found: Vec<MemberFound> = records.iter().map(|record| MemberFound::of(&record.member)).collect();
    out.show(&json!({ "members": found, "more": more }), |text| {
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|found| {
                let state = if found.active { "" } else { "not active" };
                vec![found.number.to_string(), found.name.clone(), found.phone.clone(), state.to_owned()]
            })
            .collect();
        table(text, &["number", "name", "phone", "state"], &rows)?;
        if more { writeln!(text, "… and more; say more of the name or number") } else { Ok(()) }
    })?;
    Ok(())
}

fn show(place: &Place, number: MemberNumber, out: &mut Output<'_>) -> Result<(), Failure> {
    let found = place.open()?.read_blocking(|tx| {
        let Some(Record { member, .. }) = member::find(tx, &number)? else { return Ok(None) };
        let cards = member::cards(tx, member.id)?;
        Ok::<_, StoreError>(Some((member, cards)))
    })?;
    let Some((member, cards)) = found else {
        return Err(Failure::Refused(format!(
            "no member has the number {number}\n  hint: huitong-hub member find TEXT looks for other words"
        )));
    };
    let cards: Vec<MemberCard> = cards.iter().map(MemberCard::of).collect();
    let birthday = member.birthday.map(|birthday| birthday.without_year().to_string());
    let value = json!({
        "member": member.id,
        "number": member.number,
        "name": member.name,
        "pinyin": member.pinyin,
        "phone": member.phone_masked,
        "tier": member.tier,
        "tier_valid_from": member.tier_valid_from,
        "tier_valid_to": member.tier_valid_to,
        "birthday": birthday,
        "segments": member.segments,
        "active": member.active,
        "cards": cards,
        "qr": member.number.qr_text(),
    });
    out.show(&value, |text| {
        let day =
            |day: Option<huitong_protocol::time::BusinessDay>| day.map_or("…".to_owned(), |day| day.to_string());
        let name = member.tier.as_ref().map_or("", TierCode::as_str);
        let tier = match (member.tier_valid_from, member.tier_valid_to) {
            (None, None) => name.to_owned(),
            (from, to) => format!("{name} from {} to {}", day(from), day(to)),
        };
        for (name, value) in [
            ("number", member.number.to_string()),
            ("name", member.name.clone()),
            ("pinyin", member.pinyin.join(", ")),
            ("phone", member.phone_masked.clone()),
            ("tier", tier),
            ("birthday", birthday.clone().unwrap_or_default()),
            ("segments", member.segments.iter().map(SegmentCode::as_str).collect::<Vec<_>>().join(", ")),
            ("state", if member.active { "active" } else { "not active" }.to_owned()),
            ("code", member.number.qr_text()),
        ] {
            if !value.is_empty() {
                writeln!(text, "{name:<10} {value}")?;
            }
        }
        for card in &cards {
            writeln!(text, "{:<10} {} {} {}", "card", card.number, card.product, card.status)?;
        }
        Ok(())
    })?;
    Ok(())
}
