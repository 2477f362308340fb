//! Organisation: the legal entities and stores of a group, as the hub publishes them.

use serde::{Deserialize, Serialize};

use crate::id::{LegalEntityId, StoreId};
use crate::money::Currency;
use crate::time::BusinessDay;

/// Who owns stores and issues cards, as its tax office knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LegalEntity {
    /// Its code in the group.
    pub id: LegalEntityId,
    /// Its registered name.
    pub name: String,
    /// The unified social credit code (统一社会信用代码), or another country's register number.
    #[serde(default)]
    pub register_number: String,
    /// What kind of taxpayer it is (一般纳税人、小规模纳税人 …), free text of the group.
    #[serde(default)]
    pub taxpayer_kind: String,
    /// The bank account that settlement pays to.
    #[serde(default)]
    pub bank_account: String,
}

/// A store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Its code.
    pub id: StoreId,
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub legal_entity: LegalEntityId,
    /// IANA time zone: `Asia/Shanghai`.
    pub time_zone: String,
    /// What its tills count in.
    pub currency: Currency,
    /// The hour of the night (0 to 23) at which an unlabelled sale belongs to the new business day.
    pub rollover_hour: u8,
    /// The first business day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_on: Option<BusinessDay>,
    /// The last business day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_on: Option<BusinessDay>,
}
