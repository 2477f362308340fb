//! Conformity: whether an answer is what the OpenAPI document of its API says.

use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::{Value, json};

/// A document, and the schemas of it that were asked for.
pub(crate) struct Document {
    root: Value,
    compiled: HashMap<String, Validator>,
}

impl Document {
    pub(crate) fn new(root: Value) -> Self {
        Self { root, compiled: HashMap::new() }
    }

    /// The path of the document that a request's path is of; one without parts goes before one with.
    fn template(&self, path: &str) -> Option<String> {
        let path: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').collect();
        let fits = |template: &str| {
            let words: Vec<&str> = template.split('/').collect();
            let word = |(asked, word): (&&str, &&str)| asked == word || (word.starts_with('{') && !asked.is_empty());
            words.len() == path.len() && path.iter().zip(&words).all(word)
        };
        let paths = self.root["paths"].as_object().unwrap();
        paths.keys().filter(|template| fits(template)).min_by_key(|template| template.matches('{').count()).cloned()
    }

    /// What is wrong with an answer.
    pub(crate) fn check(
        &mut self,
        method: &str,
        path: &str,
        (status, media_type): (u16, &str),
        body: &[u8],
    ) -> Result<(), String> {
        // What is no path of the API is answered without being described.
        let Some(template) = self.template(path) else { return Ok(()) };
        let method = method.to_lowercase();
        let told = format!("{method} {template} {status} {media_type}");
        let media_type = media_type.split(';').next().unwrap_or_default();
        let operation = &self.root["paths"][&template][&method];
        let content = &operation["responses"][status.to_string()]["content"][media_type];
        if content.is_null() {
            return Err(format!("{told}: is not described; {}", String::from_utf8_lossy(body)));
        }
        if !media_type.ends_with("json") {
            return Ok(());
        }
        let body: Value = serde_json::from_slice(body).map_err(|why| format!("{told}: {why}"))?;
        let validator = self.compiled.entry(told.clone()).or_insert_with(|| {
            let mut schema = content["schema"].clone();
            schema["components"] = self.root["components"].clone();
            jsonschema::validator_for(&schema).unwrap_or_else(|why| panic!("{told}: {why}"))
        });
        let faults: Vec<String> =
            validator.iter_errors(&body).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
        if faults.is_empty() { Ok(()) } else { Err(format!("{told}: {} in {body}", faults.join("; "))) }
    }

    /// Whether a body that somebody sends is what an operation reads.
    pub(crate) fn check_request(&mut self, method: &str, path: &str, body: &Value) -> Result<(), String> {
        let template = self.template(path).ok_or("is no path")?;
        let mut schema =
            self.root["paths"][&template][method]["requestBody"]["content"]["application/json"]["schema"].clone();
        schema["components"] = self.root["components"].clone();
        let validator = jsonschema::validator_for(&schema).map_err(|why| why.to_string())?;
        validator.validate(body).map_err(|why| format!("{}: {why}", why.instance_path()))
    }

    pub(crate) fn root(&self) -> &Value {
        &self.root
    }
}

/// A response schema that refers to nothing that there is would let everything pass: each must be found.
pub(crate) fn unresolved(root: &Value) -> Vec<String> {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|inner| walk(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| walk(inner, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(root, &mut found);
    let missing = |reference: &&&str| root.pointer(reference.trim_start_matches('#')).is_none();
    found.iter().filter(missing).map(|&reference| reference.to_owned()).collect()
}

#[test]
fn an_answer_that_is_not_as_described_is_found() {
    let mut document = Document::new(huitong_edge::api::openapi());
    let said = json!({"state": "unknown"}).to_string();
    let json = (200, "application/json");
    assert_eq!(document.check("GET", "/v1/operations/S1-1-1", json, said.as_bytes()), Ok(()));
    let said = json!({"state": "forgotten"}).to_string();
    assert!(document.check("GET", "/v1/operations/S1-1-1", json, said.as_bytes()).is_err());
    assert!(document.check("GET", "/v1/operations/S1-1-1", (418, "application/json"), b"{}").is_err());
    assert_eq!(document.check("GET", "/v2/nothing", (404, "application/problem+json"), b"{}"), Ok(()));
}
