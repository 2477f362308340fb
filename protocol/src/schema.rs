//! Schemas of the types that write themselves: what they are in JSON, in words and patterns that a program can check.
//!
//! Types that serde derives have their schema derived beside it.

use std::borrow::Cow;

use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema, json_schema};

macro_rules! texts {
    ($($type:ty = $name:literal, $meaning:literal, { $($key:literal: $value:expr),* };)+) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn schema_id() -> Cow<'static, str> {
                concat!("huitong::", $name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $meaning $(, $key: $value)* })
            }
        }
    )+};
}

/// Codes that people give to things.
const CODE: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,15}$";

texts! {
    crate::id::GroupId = "GroupId", "The retail group.", { "pattern": CODE };
    crate::id::StoreId = "StoreId", "A store by its code.", { "pattern": CODE };
    crate::id::LegalEntityId = "LegalEntityId", "A legal entity by its code.", { "pattern": CODE };
    crate::id::TerminalId = "TerminalId", "A till by its code.", { "pattern": CODE };
    crate::id::OperatorId = "OperatorId", "A person at a till.", { "pattern": CODE };
    crate::id::SupplierId = "SupplierId", "A supplier by its code.", { "pattern": CODE };
    crate::id::PartnerId = "PartnerId", "A partner outside the group.", { "pattern": CODE };
    crate::id::CounterId = "CounterId", "A concession counter within a store.", { "pattern": CODE };
    crate::id::ProductId = "ProductId", "A kind of card.", { "pattern": CODE };
    crate::id::TenderCode = "TenderCode", "A tender by its code in the catalogue.", { "pattern": CODE };
    crate::id::PromotionId = "PromotionId", "A promotion of the policy.", { "pattern": CODE };
    crate::id::CouponCode = "CouponCode", "The code that a coupon carries; case counts.", { "pattern": CODE };
    crate::id::RoleCode = "RoleCode", "What an operator may do at a till.", { "minLength": 1, "maxLength": 16 };
    crate::id::TierCode = "TierCode", "A level of membership.", { "minLength": 1, "maxLength": 16 };
    crate::id::SegmentCode = "SegmentCode", "A group of members.", { "minLength": 1, "maxLength": 16 };
    crate::id::EntryId = "EntryId", "An entry of a store's journal, which is the receipt's number: STORE-EPOCH-SEQ.", { "examples": ["S1-1-88"] };
    crate::id::Hash = "Hash", "A hash: the name of its algorithm and hexadecimal digits.", { "pattern": "^b3:[0-9a-f]{64}$" };
    crate::card::CardNumber = "CardNumber", "A card's number.", { "pattern": "^[0-9]{6,24}$" };
    crate::member::MemberNumber = "MemberNumber", "A member's number.", {};
    crate::member::Birthday = "Birthday", "A birthday, with or without its year.", {};
    crate::party::Party = "Party", "Who bears or gets an amount: store:S1, supplier:SUP1, hub, risk …", {};
    crate::unit::Unit = "Unit", "What is counted: a currency, or points.", { "examples": ["CNY", "points"] };
    crate::money::Currency = "Currency", "A currency (ISO 4217).", { "pattern": "^[A-Z]{3}$" };
    crate::movement::MovementKind = "MovementKind", "What moved value.", {};
    crate::time::BusinessDay = "BusinessDay", "A business day's label.", { "format": "date" };
    crate::reconcile::Severity = "Severity", "How much a finding matters.", { "enum": crate::reconcile::Severity::ALL.map(crate::reconcile::Severity::as_str) };
    crate::reconcile::Class = "Class", "What kind of thing was found.", { "enum": crate::reconcile::Class::ALL.iter().map(|class| class.as_str()).collect::<Vec<_>>() };
}
