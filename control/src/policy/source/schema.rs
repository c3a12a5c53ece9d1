//! The JSON Schema of a policy document, for editors: from the types and their docstrings.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema as schema};

use super::intent::{RULE, RULESET_RULE, TIER_RULE};
use super::native::VERSION;
use super::proof::ClaimSource;
use super::{AssertionSource, LabelsSource, PeersSource, PolicySource, RuleSource, Spanned, Words};
use crate::policy::validate::{ACTIONS, BUILT_IN, MODES, OUTSIDE, TIER_ACTIONS, VERDICTS};

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
        let test = |properties: serde_json::Value| {
            schema!({
                "anyOf": [words, {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": false,
                    "properties": properties,
                }],
            })
        };
        let one_of = serde_json::json!({"description": "One of these values.", "$ref": "#/$defs/words"});
        let none_of = serde_json::json!({"description": "None of these values.", "$ref": "#/$defs/words"});
        let there = serde_json::json!({
            "description": "Whether the key must be there, or must not.",
            "type": "boolean",
        });
        let mut workload = test(serde_json::json!({"in": one_of, "exists": there}));
        workload
            .insert("description".to_owned(), "Is one of these workloads, by name; or any, or none.".into());
        let mut network = test(serde_json::json!({"in": one_of, "not": none_of}));
        network
            .insert("description".to_owned(), "Lies in one of these networks, by name; or in none.".into());
        let mut label = test(serde_json::json!({"in": one_of, "not": none_of, "exists": there}));
        label.insert("description".to_owned(), "A label key and its value; a list means one of them.".into());
        schema!({
            "description": "`any` for every address, `any-workload` for every workload, `no-workload` for every \
                            address that no workload owns, or requirements that must all hold.",
            "anyOf": [
                {"enum": ["any", "any-workload", "no-workload"]},
                {
                    "type": "object",
                    "minProperties": 1,
                    "properties": {
                        "workload": workload,
                        "network": network,
                        "matchLabels": {
                            "description": "As in Kubernetes: keys with the value that each must have.",
                            "type": "object",
                            "additionalProperties": word(),
                        },
                        "matchExpressions": {
                            "description": "As in Kubernetes: expressions that must all hold.",
                            "type": "array",
                            "items": expression(),
                        },
                    },
                    "additionalProperties": label,
                },
            ],
        })
    }
}

fn expression() -> serde_json::Value {
    serde_json::json!({
        "type": "object",
        "required": ["key", "operator"],
        "additionalProperties": false,
        "properties": {
            "key": {"description": "A label key, `workload` or `network`.", "type": "string"},
            "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
            "values": {"description": "For `In` and `NotIn`.", "$ref": "#/$defs/words"},
        },
    })
}

/// Defines stand-ins for what the types cannot say, each inlined.
macro_rules! stand_ins {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)+) => {$(
        $(#[doc = $doc])+
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let schema: fn(&mut SchemaGenerator) -> Schema = $schema;
                schema(generator)
            }
        }
    )+};
}

stand_ins! {
    /// The words after `action`, where rules have no order.
    Action = |_| words(ACTIONS.iter().map(|word| (word.name, word.meaning)));
    /// The words after `ingress` and `egress`.
    Mode = |_| words(MODES.iter().map(|(name, _, meaning)| (*name, *meaning)));
    /// The words after `outside`.
    Outside = |_| words(OUTSIDE.iter().copied());
    /// The verdicts.
    Expect = |_| schema!({"enum": VERDICTS.map(|verdict| verdict.name())});
    /// What becomes of live flows.
    OnRevoke = |_| schema!({"type": "string", "pattern": "^(cut|keep|drain [0-9]{1,5}[smh])$"});
    /// One gate or both.
    Gates = |_| {
        let gate = serde_json::json!({"enum": ["egress", "ingress"]});
        schema!({"anyOf": [gate, {"type": "array", "items": gate, "minItems": 1}]})
    };
    /// A rule at the top of a document.
    PlainRule = |generator| rule(generator, RULE, "rule");
    /// A rule of a ruleset.
    RulesetRule = |generator| rule(generator, RULESET_RULE, "ruleset-rule");
    /// A rule of a tier.
    TierRule = |generator| rule(generator, TIER_RULE, "tier-rule");
    /// The names of the built-in rules.
    Infrastructure = |_| {
        let properties: serde_json::Map<_, _> = BUILT_IN
            .iter()
            .map(|rule| {
                (rule.name.to_owned(), serde_json::json!({"type": "boolean", "description": rule.meaning}))
            })
            .collect();
        schema!({"type": "object", "properties": properties, "additionalProperties": false})
    };
}

/// A rule of which only `fields` may stand here.
fn rule(generator: &mut SchemaGenerator, fields: &[&str], name: &'static str) -> Schema {
    let mut schema = <RuleSource as JsonSchema>::json_schema(generator);
    if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        properties.retain(|field, _| fields.contains(&field.as_str()));
        if fields.contains(&"priority") {
            let all = words(TIER_ACTIONS.iter().map(|(name, meaning, _)| (*name, *meaning)));
            let described = properties.get("action").and_then(|action| action.get("description")).cloned();
            let mut all = all.to_value();
            if let (Some(all), Some(described)) = (all.as_object_mut(), described) {
                all.insert("description".to_owned(), described);
            }
            properties.insert("action".to_owned(), all);
        }
    }
    if fields.contains(&"from_anywhere")
        && let Some(required) = schema.get_mut("required").and_then(serde_json::Value::as_array_mut)
    {
        required.retain(|field| field != "from" && field != "to");
    }
    generator.definitions_mut().insert(name.to_owned(), schema.to_value());
    schema!({"$ref": format!("#/$defs/{name}")})
}

impl JsonSchema for AssertionSource {
    fn schema_name() -> Cow<'static, str> {
        "assertion".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let claim = generator.subschema_for::<ClaimSource>();
        schema!({
            "description": "What must hold of every flow, whichever labels its ends have.",
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
            "properties": {"never": claim, "always": claim},
        })
    }
}

fn words<'a>(all: impl Iterator<Item = (&'a str, &'a str)>) -> Schema {
    let all: Vec<_> = all.map(|(name, meaning)| described(name, meaning)).collect();
    schema!({"oneOf": all})
}

fn described(name: &str, meaning: &str) -> serde_json::Value {
    serde_json::json!({"const": name, "description": meaning})
}
