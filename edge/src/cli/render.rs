//! JSON for people: nested values as indented lines, lists of objects as tables. One way for all answers, so that text and JSON say the same.

use serde_json::{Map, Value};

/// A value as lines.
pub(super) fn lines(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) => object(fields, 0, &mut text),
        Value::Array(items) => array(items, 0, &mut text),
        plain => text.push_str(&scalar(plain)),
    }
    text
}

fn object(fields: &Map<String, Value>, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    let width =
        fields.iter().filter(|(_, value)| is_flat(value)).map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    for (key, value) in fields {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(&format!("{pad}{key}:\n"));
                object(inner, indent + 2, text);
            }
            Value::Array(items) if !is_flat(value) => {
                text.push_str(&format!("{pad}{key}:\n"));
                array(items, indent + 2, text);
            }
            flat => text.push_str(format!("{pad}{key:width$}  {}", scalar(flat)).trim_end()),
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
}

fn array(items: &[Value], indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    if let Some(columns) = columns(items) {
        table(items, &columns, &pad, text);
        return;
    }
    for item in items {
        match item {
            Value::Object(fields) => {
                object(fields, indent, text);
                text.push('\n');
            }
            other => text.push_str(&format!("{pad}{}\n", scalar(other))),
        }
    }
}

/// The columns of a list of flat objects.
fn columns(items: &[Value]) -> Option<Vec<&String>> {
    let mut columns: Vec<&String> = Vec::new();
    for item in items {
        for (key, value) in item.as_object()? {
            if !is_flat(value) {
                return None;
            }
            if !columns.contains(&key) {
                columns.push(key);
            }
        }
    }
    Some(columns)
}

fn table(items: &[Value], columns: &[&String], pad: &str, text: &mut String) {
    let cell = |item: &Value, column: &str| item.get(column).map(scalar).unwrap_or_default();
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| {
            let cells = items.iter().map(|item| cell(item, column).chars().count());
            cells.chain([column.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut row = |cells: Vec<String>| {
        let cells: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        text.push_str(&format!("{pad}{}\n", cells.join("  ").trim_end()));
    };
    row(columns.iter().map(|column| (*column).clone()).collect());
    for item in items {
        row(columns.iter().map(|column| cell(item, column)).collect());
    }
}

fn is_flat(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.iter().all(|item| !item.is_object() && !item.is_array()),
        _ => true,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(", "),
        Value::Object(_) => "none".to_owned(),
        Value::Number(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_reads_as_lines_and_tables() {
        let value = json!({
            "store": "S1", "hub_online": true, "alarms": [], "open_day": null,
            "head": { "seq": 7 },
            "totals": { "tenders": [{ "tender": "cash", "in_minor": 500 }, { "tender": "stored_value", "in_minor": 20 }] },
        });
        insta::assert_snapshot!(lines(&value), @r"
        alarms      none
        head:
          seq  7
        hub_online  yes
        open_day    -
        store       S1
        totals:
          tenders:
            in_minor  tender
            500       cash
            20        stored_value
        ");
    }
}
