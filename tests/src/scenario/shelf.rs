//! The shelf in a shopkeeper's words: goods, members, promotions and points of a town, before its trading.
//!
//! ```text
//! goods COAT 120.00 服装 member 110.00
//! members M1:gold M2
//! promotion GOLD-5 5% for gold
//! promotion NOON price 10.00 on 食品/饮料 hours 11:00-12:30 alone
//! promotion OVER-100 100.00 less 20.00 by hub
//! promotion SPRING 3.00 each coupon SPRING26
//! points per 1.00 worth 0.01 from 100 share 30%
//! ```
//!
//! Promotions stand together unless one is said to be the `best` or to stand `alone`; stores pay for them unless somebody is named.

use std::fmt::Write as _;

use anyhow::{Context, bail};

use super::{amount, ppm};

/// An item of the town's item master.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its SKU, which is its name too.
    pub sku: String,
    /// What one costs.
    pub price_minor: i64,
    /// Its category.
    pub category_path: String,
    /// What one costs members.
    pub member_minor: Option<i64>,
}

/// A member, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The name in the scenario.
    pub name: String,
    /// The tier.
    pub tier: Option<String>,
}

/// Reads an item: the words after `goods`.
///
/// # Errors
/// The word that is none.
pub(super) fn item(words: &[&str]) -> anyhow::Result<Item> {
    let (sku, price, rest) = match words {
        [sku, price, rest @ ..] => (*sku, *price, rest),
        _ => bail!("goods have a SKU and a price"),
    };
    let (category, rest) = match rest {
        [] | ["member", ..] => ("", rest),
        [category, rest @ ..] => (*category, rest),
    };
    let member_minor = match rest {
        [] => None,
        ["member", price] => Some(amount(price)?),
        _ => bail!("goods are written SKU PRICE [CATEGORY] [member PRICE]"),
    };
    Ok(Item { sku: sku.to_owned(), price_minor: amount(price)?, category_path: category.to_owned(), member_minor })
}

/// Reads members: the words after `members`.
pub(super) fn members(words: &[&str]) -> Vec<Member> {
    let member = |word: &&str| match word.split_once(':') {
        None => Member { name: (*word).to_owned(), tier: None },
        Some((name, tier)) => Member { name: name.to_owned(), tier: Some(tier.to_owned()) },
    };
    words.iter().map(member).collect()
}

/// Reads a promotion, the words after `promotion`, as the policy's TOML says it.
///
/// # Errors
/// The word that is none.
pub(super) fn promotion(words: &[&str]) -> anyhow::Result<String> {
    let [id, rest @ ..] = words else { bail!("a promotion has an id") };
    let (give, mut rest) = match rest {
        [spend, "less", off, rest @ ..] => {
            let (spend, off) = (amount(spend)?, amount(off)?);
            (format!("kind = \"threshold\", spend_minor = {spend}, off_minor = {off}"), rest)
        }
        ["price", price, rest @ ..] => (format!("kind = \"fixed_price\", price_minor = {}", amount(price)?), rest),
        [off, "each", rest @ ..] => (format!("kind = \"amount_off\", amount_minor = {}", amount(off)?), rest),
        [percent, rest @ ..] => (format!("kind = \"percent_off\", percent_ppm = {}", ppm(percent)?), rest),
        [] => bail!("a promotion gives N%, AMOUNT each, price AMOUNT, or SPEND less AMOUNT"),
    };
    let (mut toml, mut combine) =
        (format!("[[promotions]]\nid = \"{id}\"\nname = \"{id}\"\ngive = {{ {give} }}\n"), "compound");
    while let [word, more @ ..] = rest {
        rest = more;
        match *word {
            "alone" => combine = "exclusive",
            "best" => combine = "best_price",
            word => {
                let [value, more @ ..] = rest else { bail!("{word} lacks its word") };
                rest = more;
                // Writing into a string does not fail.
                let _ = match word {
                    "on" => writeln!(toml, "goods = {{ include = {{ categories = [\"{value}\"] }} }}"),
                    "for" if *value == "members" => writeln!(toml, "who = {{ members = true }}"),
                    "for" => writeln!(toml, "who = {{ tiers = [\"{value}\"] }}"),
                    "coupon" => writeln!(toml, "coupon = \"{value}\""),
                    "by" => writeln!(toml, "funding = [{{ party = \"{value}\", share_ppm = 1000000 }}]"),
                    "hours" => {
                        let (from, until) = value.split_once('-').context("hours are written 11:00-12:30")?;
                        writeln!(toml, "when = {{ times = [[\"{from}\", \"{until}\"]] }}")
                    }
                    _ => bail!("{word} is no word of a promotion"),
                };
            }
        }
    }
    let _ = writeln!(toml, "combine = \"{combine}\"");
    Ok(toml)
}

/// Reads the rules of points, the words after `points`, as the policy's TOML says them, with the tender that they are.
///
/// # Errors
/// The word that is none.
pub(super) fn points(words: &[&str]) -> anyhow::Result<String> {
    let ["per", per, "worth", worth, "from", least, "share", share] = words else {
        bail!("points are written: points per 1.00 worth 0.01 from 100 share 30%")
    };
    let least: i64 = least.parse().with_context(|| format!("{least} is no number of points"))?;
    Ok(format!(
        "[points]\nearn = {{ per_minor = {}, points = 1 }}\n\
         burn = {{ points = 1, worth_minor = {}, points_min = {least}, share_ppm_max = {} }}\n\
         [[tenders]]\ncode = \"points\"\nclass = \"points\"\nearns_points = false\ncounts_as = \"discount\"\n",
        amount(per)?,
        amount(worth)?,
        ppm(share)?
    ))
}

/// Reads the ladder, the words after `ladder`, as the policy's TOML says it: after so many minutes of silence a receipt may take so much.
///
/// # Errors
/// The word that is none.
pub(super) fn ladder(words: &[&str]) -> anyhow::Result<String> {
    let mut toml = "[ladder]\n".to_owned();
    for word in words {
        let (minutes, most) = word.split_once(':').context("a rung is written MINUTES:AMOUNT")?;
        let minutes: u32 = minutes.parse().with_context(|| format!("{minutes} is no number of minutes"))?;
        let most = amount(most)?;
        // Writing into a string does not fail.
        let _ = writeln!(
            toml,
            "[[ladder.rungs]]\nafter_minutes = {minutes}\nvalue_minor_max = {most}\npoints_max = {most}"
        );
    }
    Ok(toml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goods_and_promotions_are_read() {
        let coat = item(&["COAT", "120.00", "服装", "member", "110.00"]).unwrap();
        assert_eq!((coat.price_minor, coat.category_path.as_str(), coat.member_minor), (12_000, "服装", Some(11_000)));
        let tea = item(&["TEA", "12.00"]).unwrap();
        assert_eq!((tea.category_path.as_str(), tea.member_minor), ("", None));
        let noon = promotion(&["NOON", "price", "10.00", "on", "食品", "hours", "11:00-12:30", "alone"]).unwrap();
        for says in ["price_minor = 1000", "categories = [\"食品\"]", "[\"11:00\", \"12:30\"]", "\"exclusive\""] {
            assert!(noon.contains(says), "{noon}");
        }
        assert!(promotion(&["GOLD", "5%", "for", "gold"]).unwrap().contains("percent_ppm = 50000"));
        let error = promotion(&["X", "5%", "under", "way"]).unwrap_err().to_string();
        assert_eq!(error, "under is no word of a promotion");
    }
}
