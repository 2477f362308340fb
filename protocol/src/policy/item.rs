//! Item rules: whose word counts about goods, the till's or the item master's.

use serde::{Deserialize, Serialize};

/// Who says what an item is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemSource {
    /// The till; what it leaves out is filled in from the item master.
    #[default]
    Till,
    /// The item master; the till's word counts only for what the master does not have.
    Master,
}

/// Whose word counts about goods.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ItemRules {
    /// Who says what a line's name, category, brand, counter, supplier, tax and flags are. The price of a line is always the till's.
    pub attributes: ItemSource,
}
