//! Who stood at the till, said in every request that changes something in one shape.
//!
//! The fields are those of the request itself and not nested or flattened, so that a fault in one is named as precisely as in any other.

use crate::id::OperatorId;

/// Who stood at the till.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// Who stands at the till.
    pub operator: Option<OperatorId>,
    /// Who approved it.
    pub approver: Option<OperatorId>,
    /// The till's own count.
    pub terminal_seq: Option<u64>,
}

/// A request of a till that changes something.
pub trait FromTill {
    /// Who stood at the till.
    fn said(&self) -> Said;
}

/// Defines requests: each with its own fields and, after them, those of [`Said`].
macro_rules! requests {
    ($($(#[$of:meta])* pub struct $name:ident { $($(#[$field_of:meta])* pub $field:ident: $type:ty,)* })+) => {$(
        $(#[$of])*
        #[derive(Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_of])* pub $field: $type,)*
            /// Who stands at the till.
            #[serde(default)]
            pub operator: Option<OperatorId>,
            /// Who approved it.
            #[serde(default)]
            pub approver: Option<OperatorId>,
            /// The till's own count.
            #[serde(default)]
            pub terminal_seq: Option<u64>,
        }

        impl $crate::till::FromTill for $name {
            fn said(&self) -> Said {
                Said { operator: self.operator, approver: self.approver, terminal_seq: self.terminal_seq }
            }
        }
    )+};
}

pub(super) use requests;
