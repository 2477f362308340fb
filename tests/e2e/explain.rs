//! Every code that a program can say is explained, in every language, and nothing else is.

use std::collections::BTreeSet;
use std::fmt;

use huitong_config::{Kind, Language, codes, explain};
use huitong_edge::api::Code;
use huitong_protocol::bundle::PolicyFault;
use huitong_protocol::decline::DeclineCode;
use huitong_protocol::reconcile::Class;
use huitong_protocol::wire::SyncFault;
use serde::Deserialize;
use serde::de::{Error, Visitor};

/// The names of an enum's variants, as its own `Deserialize` knows them: a list that cannot forget one.
fn names<'de, T: Deserialize<'de>>() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    drop(T::deserialize(Names(&mut found)));
    assert!(!found.is_empty(), "not an enum");
    found
}

#[derive(Debug)]
struct Listed;

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("listed")
    }
}

impl std::error::Error for Listed {}

impl Error for Listed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

struct Names<'a>(&'a mut BTreeSet<String>);

impl<'de> serde::Deserializer<'de> for Names<'_> {
    type Error = Listed;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Listed> {
        Err(Listed)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Listed> {
        self.0.extend(variants.iter().map(|&name| name.to_owned()));
        Err(Listed)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[test]
fn every_code_is_explained_in_every_language_and_nothing_else_is() {
    let said: Vec<(Kind, BTreeSet<String>)> = vec![
        (Kind::Decline, names::<DeclineCode>()),
        (Kind::Problem, names::<Code>().union(&names::<huitong_hub::api::Code>()).cloned().collect()),
        (Kind::Sync, names::<SyncFault>()),
        (Kind::Exception, Class::ALL.iter().map(|class| class.as_str().to_owned()).collect()),
        (Kind::Policy, names::<PolicyFault>()),
    ];
    for language in Language::ALL {
        for (kind, said) in &said {
            let explained: BTreeSet<String> =
                codes(language).iter().filter(|(known, _)| known == kind).map(|(_, code)| code.clone()).collect();
            let missing: Vec<_> = said.difference(&explained).collect();
            let unused: Vec<_> = explained.difference(said).collect();
            let file = format!("config/messages/{}.ftl", language.tag());
            assert!(missing.is_empty(), "{file} does not explain {}: {missing:?}", kind.as_str());
            assert!(unused.is_empty(), "{file} explains what nothing says as {}: {unused:?}", kind.as_str());
        }
    }
}

#[test]
fn a_till_and_explain_use_the_same_sentence() {
    for name in names::<DeclineCode>() {
        let code: DeclineCode = serde_json::from_value(name.as_str().into()).unwrap();
        let said = explain(&name, Language::English).unwrap();
        let decline = said.iter().find(|said| said.kind == Kind::Decline).unwrap();
        assert_eq!(decline.what, code.message());
    }
}
