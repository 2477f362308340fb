//! Policy diff: what differs between two policies, field by field, whatever the order and layout of their documents.
//!
//! Both are compared as they are read, defaults filled in, so that writing a default out is no difference. Rows of a list that have a code of their
//! own are matched by it (`products[SV].ranges[0].prefix`), the others by their place.

use std::collections::BTreeMap;
use std::fmt;

use huitong_protocol::policy::Policy;
use serde::Serialize;
use serde_json::Value;

/// The fields that name a row of a list, in the order in which they are tried.
const NAMES: [&str; 2] = ["id", "code"];

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where.
    pub path: String,
    /// What the first policy says; missing when it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What the second policy says; missing when it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "~ {}: {before} -> {after}", self.path),
            (None, Some(after)) => write!(f, "+ {}: {after}", self.path),
            (Some(before), None) => write!(f, "- {}: {before}", self.path),
            (None, None) => write!(f, "  {}", self.path),
        }
    }
}

/// Every field that differs, by path.
///
/// # Panics
/// Never: a policy has only types that JSON can hold.
#[must_use]
pub fn diff(before: &Policy, after: &Policy) -> Vec<Change> {
    let value = |policy: &Policy| serde_json::to_value(policy).expect("a policy has only types that JSON can hold");
    let mut changes = Vec::new();
    compare(String::new(), Some(&value(before)), Some(&value(after)), &mut changes);
    changes
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))) {
                compare(inner(key), before.get(key), after.get(key), changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            let (before, after) = (named(before, after), named(after, before));
            let places = before.order.iter().chain(after.order.iter().filter(|name| !before.rows.contains_key(*name)));
            for name in places {
                let (before, after) = (before.rows.get(name).copied(), after.rows.get(name).copied());
                compare(format!("{path}[{name}]"), before, after, changes);
            }
        }
        _ => changes.push(Change { path, before: before.cloned(), after: after.cloned() }),
    }
}

/// The rows of a list by what they are called.
struct Rows<'a> {
    order: Vec<String>,
    rows: BTreeMap<String, &'a Value>,
}

/// Rows by their own name when every row of both lists has one and no two share it, else by place.
fn named<'a>(list: &'a [Value], other: &[Value]) -> Rows<'a> {
    let field = NAMES.into_iter().find(|field| [list, other].into_iter().all(|list| is_named_by(list, field)));
    let order: Vec<String> = list
        .iter()
        .enumerate()
        .map(|(index, row)| field.and_then(|field| row[field].as_str()).map_or(index.to_string(), str::to_owned))
        .collect();
    let rows = order.iter().cloned().zip(list).collect();
    Rows { order, rows }
}

fn is_named_by(list: &[Value], field: &str) -> bool {
    let names: Option<std::collections::BTreeSet<&str>> = list.iter().map(|row| row.get(field)?.as_str()).collect();
    names.is_some_and(|names| names.len() == list.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::read_policy;

    const BEFORE: &str = r#"
name = "autumn"
currency = "CNY"
[[products]]
id = "SV"
name = "stored value"
issuer = "E1"
ranges = [{ prefix = "6601", length = 16, check = "damm" }]
load_minor_max = 500000
[[tenders]]
code = "cash"
class = "external"
[[tenders]]
code = "voucher"
class = "external"
"#;

    #[test]
    fn fields_differ_by_path_and_rows_by_their_own_name() {
        let after = r#"
currency = "CNY"
name = "winter"
[[tenders]]
code = "bank_card"
class = "external"
[[tenders]]
code = "cash"
class = "external"
may_load = true
[[products]]
id = "SV"
name = "stored value"
issuer = "E1"
ranges = [{ prefix = "6602", length = 16, check = "damm" }, { prefix = "6603", length = 16, check = "none" }]
load_minor_max = 300000
[allotment]
park_minor = 0
"#;
        let changes = diff(&read_policy(BEFORE).unwrap(), &read_policy(after).unwrap());
        let mut lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
        lines.sort();
        let (whole, fields): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| line.contains('{'));
        assert_eq!(
            fields,
            [
                r#"~ name: "autumn" -> "winter""#,
                "~ products[SV].load_minor_max: 500000 -> 300000",
                r#"~ products[SV].ranges[0].prefix: "6601" -> "6602""#,
                "~ tenders[cash].may_load: false -> true",
            ]
        );
        let begins: Vec<&str> = whole.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(begins, ["+ products[SV].ranges[1]", "+ tenders[bank_card]", "- tenders[voucher]"]);
    }

    #[test]
    fn what_stores_set_for_themselves_differs_by_store() {
        let mut after = read_policy(BEFORE).unwrap();
        let own = toml::from_str("[S1]\nno_points_skus = [\"1\"]\n").unwrap();
        after.stores = own;
        let lines: Vec<String> = diff(&read_policy(BEFORE).unwrap(), &after).iter().map(ToString::to_string).collect();
        assert_eq!(lines, [r#"+ stores: {"S1":{"no_points_skus":["1"]}}"#]);
    }

    #[test]
    fn the_same_rules_in_another_order_do_not_differ() {
        let after =
            BEFORE.replace("name = \"autumn\"\ncurrency = \"CNY\"\n", "currency = \"CNY\"\nname = \"autumn\"\n");
        let (head, tenders) = after.split_at(after.find("[[tenders]]").unwrap());
        let (cash, voucher) = tenders.split_at(tenders.rfind("[[tenders]]").unwrap());
        let turned = format!("{head}{voucher}\n{cash}");
        assert_ne!(turned, BEFORE);
        assert_eq!(diff(&read_policy(BEFORE).unwrap(), &read_policy(&turned).unwrap()), []);
    }
}
