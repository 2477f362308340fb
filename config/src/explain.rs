//! What every code means: what happened, why, and what to do, in the languages of the people who read it.
//!
//! The texts are the files of `messages/`, one per language, in Fluent's format. Which codes exist is decided where they are made; a test of the
//! whole system compares their names with the keys here, in both directions. Invariant: every language says the same about the same keys.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use fluent_bundle::FluentResource;
use fluent_bundle::concurrent::FluentBundle;
use fluent_syntax::ast::Entry;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unic_langid::LanguageIdentifier;

use crate::suggest::nearest;

/// A language that codes are explained in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// English.
    English,
    /// 简体中文.
    Chinese,
}

impl Language {
    /// All.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// Its tag (BCP 47).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// The language of a process: the first of LC_ALL, LC_MESSAGES and LANG that is set decides, as for every program of the machine.
    #[must_use]
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
        set.and_then(|value| value.parse().ok()).unwrap_or(Self::English)
    }

    const fn source(self) -> &'static str {
        match self {
            Self::English => include_str!("../messages/en.ftl"),
            Self::Chinese => include_str!("../messages/zh-CN.ftl"),
        }
    }

    fn catalogue(self) -> &'static Catalogue {
        static CATALOGUES: [OnceLock<Catalogue>; 2] = [const { OnceLock::new() }; 2];
        CATALOGUES[self as usize].get_or_init(|| Catalogue::read(self))
    }
}

impl Language {
    /// The language that somebody would rather read, by `Accept-Language`: of those that there are, the one with the greatest weight, the first when
    /// several have it; nothing when none is accepted or nothing can be read.
    #[must_use]
    pub fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(u16, Self)> = None;
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let language = parts.next().filter(|tag| !tag.is_empty() && *tag != "*").and_then(|tag| tag.parse().ok());
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let (Some(language), Some(weight)) = (language, weight.map_or(Some(1_000), thousandths)) else { continue };
            if weight > 0 && best.is_none_or(|(known, _)| weight > known) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }
}

/// A weight of `Accept-Language` in thousandths: `1`, `0.8`, `0.125`.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, rest) = weight.split_once('.').unwrap_or((weight, ""));
    if rest.len() > 3 || !rest.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    let part: u16 = format!("{rest:0<3}").parse().ok()?;
    (whole * 1_000 + part <= 1_000).then_some(whole * 1_000 + part)
}

impl Serialize for Language {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.tag())
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Language {
    type Err = String;

    /// Reads a tag or the name of a locale: `zh-CN`, `zh_CN.UTF-8`, `en`.
    fn from_str(text: &str) -> Result<Self, String> {
        let language = text.split(['-', '_', '.', '@']).next().unwrap_or_default().to_ascii_lowercase();
        match language.as_str() {
            "zh" => Ok(Self::Chinese),
            "en" | "c" | "posix" => Ok(Self::English),
            _ => Err(format!("{text:?} is not a language of this program; it has en and zh-CN")),
        }
    }
}

/// Where a code comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An operation of a till was declined.
    Decline,
    /// A request of a till has no answer.
    Problem,
    /// Store or hub refused the other's message.
    Sync,
    /// Head office should look at something.
    Exception,
    /// A store refused a policy.
    Policy,
}

impl Kind {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Decline, Self::Problem, Self::Sync, Self::Exception, Self::Policy];

    /// The text form: what its keys begin with.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decline => "decline",
            Self::Problem => "problem",
            Self::Sync => "sync",
            Self::Exception => "exception",
            Self::Policy => "policy",
        }
    }
}

/// What a code means.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Explanation {
    /// The code.
    pub code: String,
    /// Where it comes from. A code of the same name may come from several places.
    pub kind: Kind,
    /// What happened.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub action: String,
    #[serde(skip)]
    language: Option<Language>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = |key: &str| self.language.and_then(|language| language.catalogue().value(key)).unwrap_or_default();
        writeln!(f, "{} ({})", self.code, label(&format!("kind-{}", self.kind.as_str())))?;
        writeln!(f, "  {}", self.what)?;
        writeln!(f, "  {}: {}", label("label-why"), self.why)?;
        writeln!(f, "  {}: {}", label("label-action"), self.action)
    }
}

/// A code that nothing here is called.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no code {code:?}{hint}", hint = .nearest.as_ref().map_or_else(
    || "\n  hint: `explain` without a code lists all".to_owned(),
    |nearest| format!("; did you mean {nearest}?"),
))]
pub struct UnknownCode {
    /// What was asked for.
    pub code: String,
    /// What was probably meant.
    pub nearest: Option<String>,
}

/// Explains a code, once for each place that it comes from.
///
/// # Errors
/// [`UnknownCode`].
pub fn explain(code: &str, language: Language) -> Result<Vec<Explanation>, UnknownCode> {
    let wanted = code.trim().to_lowercase().replace('-', "_");
    let found: Vec<Explanation> = explain_all(language).into_iter().filter(|known| known.code == wanted).collect();
    if found.is_empty() {
        let keys = &language.catalogue().codes;
        let nearest = nearest(&wanted, keys.iter().map(|(_, code)| code.as_str())).map(str::to_owned);
        return Err(UnknownCode { code: code.to_owned(), nearest });
    }
    Ok(found)
}

/// What a code of one place means, when there is one. Cheap: it is asked for with every answer that says it.
#[must_use]
pub fn meaning(kind: Kind, code: &str, language: Language) -> Option<Explanation> {
    let catalogue = language.catalogue();
    let key = format!("{}-{code}", kind.as_str());
    Some(Explanation {
        code: code.to_owned(),
        kind,
        what: catalogue.value(&key)?,
        why: catalogue.attribute(&key, "why").unwrap_or_default(),
        action: catalogue.attribute(&key, "action").unwrap_or_default(),
        language: Some(language),
    })
}

/// Explains every code, kind by kind, in alphabetical order.
#[must_use]
pub fn explain_all(language: Language) -> Vec<Explanation> {
    language.catalogue().codes.iter().filter_map(|(kind, code)| meaning(*kind, code, language)).collect()
}

/// Every code that is explained in a language.
#[must_use]
pub fn codes(language: Language) -> &'static [(Kind, String)] {
    &language.catalogue().codes
}

/// The texts of one language.
struct Catalogue {
    bundle: FluentBundle<FluentResource>,
    /// Sorted by kind and code.
    codes: Vec<(Kind, String)>,
}

impl Catalogue {
    /// # Panics
    /// When the file is not Fluent, which a test would have said.
    fn read(language: Language) -> Self {
        let resource = FluentResource::try_new(language.source().to_owned())
            .unwrap_or_else(|(_, faults)| panic!("messages/{}.ftl cannot be read: {faults:?}", language.tag()));
        let mut codes: Vec<(Kind, String)> = resource.entries().filter_map(code_of).collect();
        codes.sort();
        let tag: LanguageIdentifier = language.tag().parse().expect("the tags of this file are tags");
        let mut bundle = FluentBundle::new_concurrent(vec![tag]);
        bundle
            .add_resource(resource)
            .unwrap_or_else(|faults| panic!("messages/{}.ftl names a key twice: {faults:?}", language.tag()));
        Self { bundle, codes }
    }

    fn value(&self, key: &str) -> Option<String> {
        let message = self.bundle.get_message(key)?;
        Some(self.format(message.value()?))
    }

    fn attribute(&self, key: &str, name: &str) -> Option<String> {
        let message = self.bundle.get_message(key)?;
        Some(self.format(message.get_attribute(name)?.value()))
    }

    fn format(&self, pattern: &fluent_syntax::ast::Pattern<&str>) -> String {
        // Nothing is put into the texts, so nothing can be missing in them.
        self.bundle.format_pattern(pattern, None, &mut Vec::new()).into_owned()
    }
}

/// The kind and code that an entry is about; labels are about none.
fn code_of(entry: &Entry<&str>) -> Option<(Kind, String)> {
    let Entry::Message(message) = entry else { return None };
    let (kind, code) = message.id.name.split_once('-')?;
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    Some((kind, code.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_says_what_why_and_what_to_do() {
        for language in Language::ALL {
            let catalogue = language.catalogue();
            for label in ["label-why", "label-action"] {
                assert!(catalogue.value(label).is_some(), "{label} in {}", language.tag());
            }
            for kind in Kind::ALL {
                assert!(
                    catalogue.value(&format!("kind-{}", kind.as_str())).is_some(),
                    "{kind:?} in {}",
                    language.tag()
                );
            }
            for said in explain_all(language) {
                let texts = [&said.what, &said.why, &said.action];
                assert!(texts.iter().all(|text| !text.is_empty()), "{said:?} in {}", language.tag());
            }
            assert_eq!(codes(language), codes(Language::English), "{}", language.tag());
        }
    }

    #[test]
    fn a_text_of_one_language_is_not_left_in_the_other() {
        let is_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        for said in explain_all(Language::Chinese) {
            assert!([&said.what, &said.why, &said.action].into_iter().all(|text| is_chinese(text)), "{said:?}");
        }
        for said in explain_all(Language::English) {
            assert!(![&said.what, &said.why, &said.action].into_iter().any(|text| is_chinese(text)), "{said:?}");
        }
    }

    #[test]
    fn a_code_of_several_places_is_explained_for_each() {
        let kinds = |code| explain(code, Language::English).unwrap().iter().map(|said| said.kind).collect::<Vec<_>>();
        assert_eq!(kinds("day_not_open"), [Kind::Decline, Kind::Problem]);
        assert_eq!(kinds("Day-Not-Open"), [Kind::Decline, Kind::Problem]);
        assert_eq!(kinds("fork"), [Kind::Sync, Kind::Exception]);
        let said = explain("card_lost", Language::Chinese).unwrap()[0].to_string();
        assert!(said.starts_with("card_lost (操作被拒绝)\n  此卡已挂失\n  原因: "), "{said}");
    }

    #[test]
    fn a_slip_of_the_hand_is_recognised() {
        let unknown = explain("card_lots", Language::English).unwrap_err();
        assert_eq!(unknown.nearest.as_deref(), Some("card_lost"));
        assert!(unknown.to_string().ends_with("did you mean card_lost?"));
        let unknown = explain("the_weather_in_suzhou", Language::English).unwrap_err();
        assert!(unknown.nearest.is_none() && unknown.to_string().contains("lists all"), "{unknown}");
    }

    #[test]
    fn who_reads_several_languages_gets_the_one_of_the_greatest_weight() {
        let check =
            |header: &str, expected: Option<Language>| assert_eq!(Language::accepted(header), expected, "{header}");
        check("zh-CN", Some(Language::Chinese));
        check("zh-CN,zh;q=0.9,en;q=0.8", Some(Language::Chinese));
        check("en;q=0.8, zh-Hans-CN", Some(Language::Chinese));
        check("fr, de;q=0.9, en-GB;q=0.1", Some(Language::English));
        check("en, zh", Some(Language::English));
        check("en;q=0, zh;q=0.001", Some(Language::Chinese));
        for nothing in ["", "*", "fr", "en;q=0", "en;q=2", "en;q=1.5", "en;q=high", "zh;q=0.1234", ";q=1", ",,;"] {
            check(nothing, None);
        }
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let check = |set: &[(&str, &str)], expected| {
            let variable =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(Language::of_environment(variable), expected, "{set:?}");
        };
        check(&[], Language::English);
        check(&[("LANG", "zh_CN.UTF-8")], Language::Chinese);
        check(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C.UTF-8")], Language::English);
        check(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "")], Language::Chinese);
        check(&[("LANG", "en_GB.UTF-8"), ("LC_MESSAGES", "zh")], Language::Chinese);
        check(&[("LANG", "fr_FR.UTF-8")], Language::English);
        assert!("fr".parse::<Language>().unwrap_err().contains("en and zh-CN"));
    }
}
