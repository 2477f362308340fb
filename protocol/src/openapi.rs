//! OpenAPI: the description of an API, made from the same table that makes its routes and the same types that its handlers read and write.
//!
//! An [`Operation`] is one row of that table: method, path, what is asked and answered, which problems may come. The schemas are those of the types
//! themselves, each as it is read where a caller sends it and as it is written where the API answers. Serving the document, and the routes, are the
//! daemons'. Invariant: the same table gives the same bytes.

use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// The version of the format.
pub const VERSION: &str = "3.1.1";
/// Where schemas stand in the document.
const COMPONENTS: &str = "/components/schemas";

/// Gives the schema of a type.
type Described = fn(&mut SchemaGenerator) -> Schema;

fn described<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The method of an operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Method {
    /// A look-up: changes nothing.
    Get,
    /// Changes something, or asks with more than fits into a path.
    Post,
}

impl Method {
    /// As documents write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
        }
    }
}

/// A problem that an operation may answer: its HTTP status and code.
pub type ProblemCode = (u16, &'static str);

/// An answer that is none of the problems.
#[derive(Clone, Copy, Debug)]
struct Good {
    status: u16,
    media_type: &'static str,
    schema: Option<Described>,
}

/// One row of the table: what a method of a path does.
#[derive(Clone, Debug)]
pub struct Operation {
    summary: &'static str,
    request: Option<Described>,
    /// Whether the body may be left out.
    may_be_empty: bool,
    query: Option<Described>,
    good: Vec<Good>,
    problems: Vec<ProblemCode>,
    is_open: bool,
    needs_key: bool,
}

impl Operation {
    /// Describes what it does, in a sentence.
    #[must_use]
    pub fn new(summary: &'static str) -> Self {
        let (good, problems) = (Vec::new(), Vec::new());
        Self {
            summary,
            request: None,
            may_be_empty: false,
            query: None,
            good,
            problems,
            is_open: false,
            needs_key: false,
        }
    }

    /// It reads a JSON body.
    #[must_use]
    pub fn reads<T: JsonSchema>(self) -> Self {
        Self { request: Some(described::<T>), ..self }
    }

    /// It reads a JSON body, which may be left out when every field is.
    #[must_use]
    pub fn may_read<T: JsonSchema>(self) -> Self {
        Self { may_be_empty: true, ..self.reads::<T>() }
    }

    /// It reads parameters of the query.
    #[must_use]
    pub fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(described::<T>), ..self }
    }

    /// It answers JSON with status 200.
    #[must_use]
    pub fn gives<T: JsonSchema>(self) -> Self {
        self.gives_with::<T>(200)
    }

    /// It answers JSON with a status.
    #[must_use]
    pub fn gives_with<T: JsonSchema>(mut self, status: u16) -> Self {
        self.good.push(Good { status, media_type: "application/json", schema: Some(described::<T>) });
        self
    }

    /// It answers a text of a media type.
    #[must_use]
    pub fn gives_text(mut self, media_type: &'static str) -> Self {
        self.good.push(Good { status: 200, media_type, schema: None });
        self
    }

    /// It may answer these problems too.
    #[must_use]
    pub fn problems(mut self, more: &[ProblemCode]) -> Self {
        self.problems.extend_from_slice(more);
        self
    }

    /// It asks for no token.
    #[must_use]
    pub fn open(self) -> Self {
        Self { is_open: true, ..self }
    }

    /// It has one effect per `Idempotency-Key`.
    #[must_use]
    pub fn keyed(self) -> Self {
        Self { needs_key: true, ..self }
    }

    /// Whether it asks for a token.
    #[must_use]
    pub const fn is_secured(&self) -> bool {
        !self.is_open
    }
}

/// A row with its place.
#[derive(Clone, Debug)]
pub struct Row {
    /// The method.
    pub method: Method,
    /// The path, with its parts in braces.
    pub path: String,
    /// What it does.
    pub operation: Operation,
}

/// What a document says of its API beside the table.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name.
    pub title: &'static str,
    /// What it is for, and what is true of every operation.
    pub description: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// What a part of a path is, by its name.
    pub parts: &'static [(&'static str, &'static str)],
    /// Headers that every request may carry: name and meaning.
    pub headers: &'static [(&'static str, &'static str)],
    /// How a caller proves who it is.
    pub security: &'static str,
    /// What the idempotency key is.
    pub key: &'static str,
    /// Changes each schema of an answer, where the API writes more than its types do.
    pub touch: fn(&mut Value),
}

/// Makes the document. `Problem` is the type of every problem.
#[must_use]
pub fn document<Problem: JsonSchema>(about: &About, rows: &[Row]) -> Value {
    let generator = |settings: SchemaSettings| {
        settings.with(|settings| settings.definitions_path = COMPONENTS.into()).into_generator()
    };
    let mut answers = generator(SchemaSettings::draft2020_12().for_serialize());
    let mut requests = generator(SchemaSettings::draft2020_12().for_deserialize());
    let problem = described::<Problem>(&mut answers);
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for row in rows {
        let described = describe(about, row, &problem, &mut requests, &mut answers);
        paths.entry(row.path.clone()).or_default().insert(row.method.as_str().to_owned(), described);
    }
    let mut schemas = Map::new();
    for (name, mut schema) in answers.take_definitions(true) {
        (about.touch)(&mut schema);
        schemas.insert(name, schema);
    }
    let mut paths = json!(paths);
    add_requests(&mut paths, &mut schemas, requests.take_definitions(true));
    json!({
        "openapi": VERSION,
        "info": { "title": about.title, "version": about.version, "description": about.description },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": about.security } },
        },
    })
}

/// Adds the schemas of what callers send. A type that is read otherwise than it is written has both, the one that is read under a name of its own.
fn add_requests(paths: &mut Value, schemas: &mut Map<String, Value>, requests: Map<String, Value>) {
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    // What refers to a type that is read otherwise is itself read otherwise.
    loop {
        let before = renamed.len();
        for (name, schema) in &requests {
            let mut schema = schema.clone();
            rename(&mut schema, &renamed);
            if schemas.get(name).is_some_and(|written| *written != schema) {
                renamed.insert(name.clone(), format!("{name}Sent"));
            }
        }
        if renamed.len() == before {
            break;
        }
    }
    for (name, mut schema) in requests {
        rename(&mut schema, &renamed);
        schemas.insert(renamed.get(&name).cloned().unwrap_or(name), schema);
    }
    let operations = paths.as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in operations.filter_map(Value::as_object_mut).flat_map(|methods| methods.values_mut()) {
        for asked in ["requestBody", "parameters"] {
            rename(&mut operation[asked], &renamed);
            if operation[asked].is_null() {
                drop(operation.as_object_mut().and_then(|fields| fields.remove(asked)));
            }
        }
    }
}

/// Puts new names into references.
fn rename(schema: &mut Value, renamed: &BTreeMap<String, String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                let name = reference.rsplit('/').next().and_then(|name| renamed.get(name));
                if let Some(name) = name {
                    *reference = format!("#{COMPONENTS}/{name}");
                }
            }
            fields.values_mut().for_each(|inner| rename(inner, renamed));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| rename(inner, renamed)),
        _ => {}
    }
}

fn describe(
    about: &About,
    row: &Row,
    problem: &Schema,
    requests: &mut SchemaGenerator,
    answers: &mut SchemaGenerator,
) -> Value {
    let Row { method, path, operation } = row;
    let mut described = json!({ "operationId": operation_id(*method, path), "summary": operation.summary });
    described["security"] = if operation.is_open { json!([]) } else { json!([{ "token": [] }]) };
    let parameters = parameters(about, path, operation, requests);
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if let Some(schema) = operation.request {
        let content = json!({ "application/json": { "schema": schema(requests) } });
        described["requestBody"] = json!({ "required": !operation.may_be_empty, "content": content });
    }
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    for good in &operation.good {
        let mut schema = good.schema.map_or_else(|| json!({ "type": "string" }), |schema| json!(schema(answers)));
        (about.touch)(&mut schema);
        let response =
            responses.entry(good.status.to_string()).or_insert_with(|| json!({ "description": operation.summary }));
        response["content"][good.media_type] = json!({ "schema": schema });
    }
    let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for &(status, code) in &operation.problems {
        let of_status = codes.entry(status).or_default();
        if !of_status.contains(&code) {
            of_status.push(code);
        }
    }
    for (status, codes) in codes {
        let content = json!({ "application/problem+json": { "schema": problem } });
        responses.insert(
            status.to_string(),
            json!({ "description": format!("Problem: {}", codes.join(", ")), "content": content }),
        );
    }
    described["responses"] = json!(responses);
    described
}

fn parameters(about: &About, path: &str, operation: &Operation, requests: &mut SchemaGenerator) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let mut parameters: Vec<Value> = parts(path)
        .map(|name| {
            let meaning = about.parts.iter().find(|(known, _)| *known == name).map_or("", |(_, meaning)| meaning);
            json!({ "name": name, "in": "path", "required": true, "description": meaning, "schema": text })
        })
        .collect();
    if let Some(query) = operation.query {
        let reference = query(requests);
        let defined = reference.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
        // A query has its fields in the operation: nothing else refers to the type.
        let defined = defined.map(str::to_owned).and_then(|name| requests.definitions_mut().remove(&name));
        let schema = defined.unwrap_or_else(|| json!(reference));
        let required = |name: &str| {
            schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
        };
        for (name, of) in schema["properties"].as_object().into_iter().flatten() {
            let mut of = of.clone();
            let description = of.as_object_mut().and_then(|fields| fields.remove("description"));
            let mut parameter = json!({ "name": name, "in": "query", "required": required(name), "schema": of });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameters.push(parameter);
        }
    }
    let header = |name: &str, meaning: &str, required: bool, schema: &Value| json!({ "name": name, "in": "header", "required": required, "description": meaning, "schema": schema });
    if operation.needs_key {
        parameters.push(header("Idempotency-Key", about.key, true, &json!({ "type": "string", "format": "uuid" })));
    }
    if !operation.is_open {
        parameters.extend(about.headers.iter().map(|(name, meaning)| header(name, meaning, false, &text)));
    }
    parameters
}

/// The parts of a path that vary.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// A name for programs that are made from the document: `post_v1_sales_id_void`.
fn operation_id(method: Method, path: &str) -> String {
    let words = path.split('/').filter(|word| !word.is_empty()).map(|word| word.trim_matches(['{', '}']));
    let words: Vec<String> = words.map(|word| word.replace(['.', '-'], "_")).collect();
    format!("{}_{}", method.as_str(), words.join("_"))
}
