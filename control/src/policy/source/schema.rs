//! The JSON Schema of a policy document, for editors: from the types and their docstrings.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema as schema};

use super::native::VERSION;
use super::{LabelsSource, PeersSource, PolicySource, Spanned, Words};
use crate::policy::validate::{ACTIONS, BUILT_IN, MODES};

/// The JSON Schema (draft 2020-12) of one policy document. What it cannot say (names that must exist, addresses
/// that must be unique) the loader still checks.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(PolicySource).to_value();
    if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        let number: i64 = VERSION.parse().unwrap_or_default();
        properties.insert(
            "ringfence".to_owned(),
            serde_json::json!({
                "description": "Marks a document as a ringfence policy, and says in which version of the language.",
                "enum": [number, VERSION],
            }),
        );
    }
    if let Some(object) = schema.as_object_mut() {
        object.insert("required".to_owned(), serde_json::json!(["ringfence"]));
    }
    schema
}

/// A value written without its place.
impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A scalar whose text counts as written.
fn word() -> Schema {
    schema!({"type": ["string", "number", "boolean"]})
}

impl JsonSchema for Words {
    fn schema_name() -> Cow<'static, str> {
        "words".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema!({
            "description": "One word, or a list of words.",
            "anyOf": [word(), {"type": "array", "items": word(), "minItems": 1}],
        })
    }
}

impl JsonSchema for LabelsSource {
    fn schema_name() -> Cow<'static, str> {
        "labels".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema!({
            "description": "Keys, each with a value or a list of values. Up to 63 letters, digits, `.`, `_` and `-`, \
                            beginning and ending with a letter or digit; a key may carry a prefix such as \
                            `example.org/`.",
            "type": "object",
            "additionalProperties": generator.subschema_for::<Words>(),
        })
    }
}

impl JsonSchema for PeersSource {
    fn schema_name() -> Cow<'static, str> {
        "peers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let selector = generator.subschema_for::<Selector>();
        schema!({
            "description": "One selector, or a list of which any may match.",
            "anyOf": [selector, {"type": "array", "items": selector, "minItems": 1}],
        })
    }
}

struct Selector;

impl JsonSchema for Selector {
    fn schema_name() -> Cow<'static, str> {
        "selector".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let words = generator.subschema_for::<Words>();
        schema!({
            "description": "`any` for every address, `any-workload` for every workload, or requirements that must \
                            all hold.",
            "anyOf": [
                {"enum": ["any", "any-workload"]},
                {
                    "type": "object",
                    "minProperties": 1,
                    "properties": {
                        "workload": {"description": "Is one of these workloads, by name.", "$ref": "#/$defs/words"},
                        "network": {"description": "Lies in one of these networks, by name.", "$ref": "#/$defs/words"},
                    },
                    "additionalProperties": {
                        "description": "A label key and its value; a list means one of them.",
                        "anyOf": [words, {
                            "type": "object",
                            "minProperties": 1,
                            "additionalProperties": false,
                            "properties": {
                                "not": {"description": "None of these values.", "$ref": "#/$defs/words"},
                                "exists": {
                                    "description": "Whether the key must be there, or must not.",
                                    "type": "boolean",
                                },
                            },
                        }],
                    },
                },
            ],
        })
    }
}

/// Stands in for the words after `action`.
pub(super) struct Action;

impl JsonSchema for Action {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "action".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = ACTIONS.iter().map(|(name, meaning)| described(name, meaning)).collect();
        schema!({"oneOf": words})
    }
}

/// Stands in for the words after `ingress` and `egress`.
pub(super) struct Mode;

impl JsonSchema for Mode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = MODES.iter().map(|(name, _, meaning)| described(name, meaning)).collect();
        schema!({"oneOf": words})
    }
}

/// Stands in for the names of the built-in rules.
pub(super) struct Infrastructure;

impl JsonSchema for Infrastructure {
    fn schema_name() -> Cow<'static, str> {
        "infrastructure".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let properties: serde_json::Map<_, _> = BUILT_IN
            .iter()
            .map(|rule| {
                (rule.name.to_owned(), serde_json::json!({"type": "boolean", "description": rule.meaning}))
            })
            .collect();
        schema!({"type": "object", "properties": properties, "additionalProperties": false})
    }
}

fn described(name: &str, meaning: &str) -> serde_json::Value {
    serde_json::json!({"const": name, "description": meaning})
}
