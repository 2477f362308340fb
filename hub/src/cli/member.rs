//! `huitong-hub member`: members in, found and shown. What is told of them is decided in `desk`.

use clap::Subcommand;
use huitong_protocol::id::{SegmentCode, TierCode};
use huitong_protocol::member::MemberNumber;

use super::organisation::Import;
use super::output::table;
use super::{Failure, Output, Place, World};
use crate::{desk, import};

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
    let found = place.open()?.read_blocking(|tx| desk::find(tx, question))?;
    out.show(&found, |text| {
        let rows: Vec<Vec<String>> = found
            .members
            .iter()
            .map(|found| {
                let state = if found.active { "" } else { "not active" };
                vec![found.number.to_string(), found.name.clone(), found.phone.clone(), state.to_owned()]
            })
            .collect();
        table(text, &["number", "name", "phone", "state"], &rows)?;
        if found.more { writeln!(text, "… and more; say more of the name or number") } else { Ok(()) }
    })?;
    Ok(())
}

fn show(place: &Place, number: MemberNumber, out: &mut Output<'_>) -> Result<(), Failure> {
    let Some(member) = place.open()?.read_blocking(|tx| desk::show(tx, &number))? else {
        return Err(Failure::Refused(format!(
            "no member has the number {number}\n  hint: huitong-hub member find TEXT looks for other words"
        )));
    };
    out.show(&member, |text| {
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
            ("phone", member.phone.clone()),
            ("tier", tier),
            ("birthday", member.birthday.clone().unwrap_or_default()),
            ("segments", member.segments.iter().map(SegmentCode::as_str).collect::<Vec<_>>().join(", ")),
            ("state", if member.active { "active" } else { "not active" }.to_owned()),
            ("code", member.qr.clone()),
        ] {
            if !value.is_empty() {
                writeln!(text, "{name:<10} {value}")?;
            }
        }
        for card in &member.cards {
            writeln!(text, "{:<10} {} {} {}", "card", card.number, card.product, card.status)?;
        }
        Ok(())
    })?;
    Ok(())
}
