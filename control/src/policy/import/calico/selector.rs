//! Calico's selector language (libcalico-go, lib/selector): `app == 'web' && (has(tier) || env not in {'a', 'b'})`.
//!
//! A selector becomes a disjunction of conjunctions. Tests for parts of a value (`contains`, `starts with`, `ends with`)
//! are refused: which values they mean is not known until every workload is.

use crate::policy::diagnostics::{Code, Finding, Sink, quote};
use crate::policy::source::Word;
use crate::policy::valid::Requirement;

/// The most conjunctions that one selector may become.
pub(in super::super) const TERMS_MAX: usize = 256;
/// The deepest nesting of brackets and negations.
const DEPTH_MAX: usize = 32;
/// The longest selector, in bytes.
const LENGTH_MAX: usize = 16_384;

/// A selector as parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Expression {
    /// `all()`
    All,
    /// `global()`: what has no namespace.
    Global,
    In(String, Vec<String>),
    Has(String),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// What a key is called here; `None` if no endpoint has it.
pub(in super::super) type Keys = fn(&str) -> Option<String>;

impl Expression {
    /// Reads a selector.
    pub(in super::super) fn read(word: &Word, sink: &mut Sink<'_>) -> Option<Self> {
        let text = word.value.as_str();
        let read = if text.len() > LENGTH_MAX {
            Err(format!("it has more than {LENGTH_MAX} characters"))
        } else {
            let mut parser = Parser { rest: text };
            parser.or(0).and_then(|expression| {
                parser.space();
                if parser.rest.is_empty() {
                    Ok(expression)
                } else {
                    Err(format!("{} is not understood", quote(parser.rest)))
                }
            })
        };
        read.map_err(|why| {
            let code = if why.contains("not supported") { Code::Unsupported } else { Code::BadSelector };
            let text = format!("the selector {} cannot be read: {why}", quote(text));
            sink.push(Finding::error(code, word.span, text));
        })
        .ok()
    }

    /// The conjunctions of which any must hold, for endpoints or, with `holds` false, for those that do not match.
    ///
    /// # Errors
    /// What is not known, or too much, in words.
    pub(in super::super) fn terms(&self, holds: bool, keys: Keys) -> Result<Vec<Vec<Requirement>>, String> {
        let one = |requirement| Ok(vec![vec![requirement]]);
        match (self, holds) {
            (Self::All, true) => Ok(vec![Vec::new()]),
            (Self::All, false) => Ok(Vec::new()),
            // Every pod has a namespace.
            (Self::Global, true) => Ok(Vec::new()),
            (Self::Global, false) => Ok(vec![Vec::new()]),
            (Self::In(key, values), _) => {
                let key = known(key, keys)?;
                let values = values.clone();
                one(if holds { Requirement::In(key, values) } else { Requirement::NotIn(key, values) })
            }
            (Self::Has(key), _) => {
                let key = known(key, keys)?;
                one(if holds { Requirement::Exists(key) } else { Requirement::NotExists(key) })
            }
            (Self::Not(inner), _) => inner.terms(!holds, keys),
            (Self::And(parts), true) | (Self::Or(parts), false) => {
                let mut all = vec![Vec::new()];
                for part in parts {
                    let terms = part.terms(holds, keys)?;
                    if all.len().saturating_mul(terms.len()) > TERMS_MAX {
                        return Err(format!("it stands for more than {TERMS_MAX} simple selectors"));
                    }
                    all = (all.iter())
                        .flat_map(|one| terms.iter().map(move |other| [one.as_slice(), other].concat()))
                        .collect();
                }
                Ok(all)
            }
            (Self::Or(parts), true) | (Self::And(parts), false) => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend(part.terms(holds, keys)?);
                    if all.len() > TERMS_MAX {
                        return Err(format!("it stands for more than {TERMS_MAX} simple selectors"));
                    }
                }
                Ok(all)
            }
        }
    }

    /// Whether an object with these labels matches; `namespace` is its own, if it has one.
    pub(in super::super) fn matches(&self, labels: &[(String, String)]) -> bool {
        let value = |key: &str| labels.iter().find(|(own, _)| own == key).map(|(_, value)| value);
        match self {
            Self::All => true,
            Self::Global => value(NAMESPACE_LABEL).is_none(),
            Self::In(key, values) => value(key).is_some_and(|value| values.contains(value)),
            Self::Has(key) => value(key).is_some(),
            Self::Not(inner) => !inner.matches(labels),
            Self::And(parts) => parts.iter().all(|part| part.matches(labels)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(labels)),
        }
    }
}

/// The label that holds an endpoint's namespace.
pub(in super::super) const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

fn known(key: &str, keys: Keys) -> Result<String, String> {
    keys(key)
        .ok_or_else(|| format!("the label {} is not supported: it is not known of a pod here", quote(key)))
}

struct Parser<'t> {
    rest: &'t str,
}

type Parsed = Result<Expression, String>;

impl<'t> Parser<'t> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `token` if it stands here.
    fn eat(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(format!("{} is missing before {}", quote(token), quote(self.rest)))
        }
    }

    fn or(&mut self, depth: usize) -> Parsed {
        let mut parts = vec![self.and(depth)?];
        while self.eat("||") {
            parts.push(self.and(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Or(parts) })
    }

    fn and(&mut self, depth: usize) -> Parsed {
        let mut parts = vec![self.not(depth)?];
        while self.eat("&&") {
            parts.push(self.not(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::And(parts) })
    }

    fn not(&mut self, depth: usize) -> Parsed {
        if depth > DEPTH_MAX {
            return Err(format!("brackets and negations are nested more than {DEPTH_MAX} deep"));
        }
        if self.eat("!") {
            return Ok(Expression::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.eat("(") {
            let inner = self.or(depth + 1)?;
            self.need(")")?;
            return Ok(inner);
        }
        self.test()
    }

    /// A function or a test of one label.
    fn test(&mut self) -> Parsed {
        let name = self.name()?;
        if matches!(name, "all" | "global" | "has") && self.eat("(") {
            let test = match name {
                "all" => Expression::All,
                "global" => Expression::Global,
                _ => Expression::Has(self.name()?.to_owned()),
            };
            self.need(")")?;
            return Ok(test);
        }
        let key = name.to_owned();
        if self.eat("==") {
            return Ok(Expression::In(key, vec![self.value()?]));
        }
        if self.eat("!=") {
            return Ok(Expression::Not(Box::new(Expression::In(key, vec![self.value()?]))));
        }
        match self.name()? {
            "in" => Ok(Expression::In(key, self.values()?)),
            "not" => {
                let word = self.name()?;
                if word != "in" {
                    return Err(format!("`in` is missing before {}", quote(word)));
                }
                Ok(Expression::Not(Box::new(Expression::In(key, self.values()?))))
            }
            word @ ("contains" | "starts" | "ends") => {
                Err(format!("`{word}` is not supported: which values it means is not known"))
            }
            word => Err(format!("there is no operator {}", quote(word))),
        }
    }

    /// A label key or a word.
    fn name(&mut self) -> Result<&'t str, String> {
        self.space();
        let legal = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        let end = self.rest.find(|c| !legal(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() {
            return Err(format!("a label is missing before {}", quote(self.rest)));
        }
        self.rest = rest;
        Ok(name)
    }

    fn value(&mut self) -> Result<String, String> {
        for mark in ['\'', '"'] {
            if self.eat(mark.encode_utf8(&mut [0; 4])) {
                let (value, rest) =
                    self.rest.split_once(mark).ok_or_else(|| "a value is not closed".to_owned())?;
                self.rest = rest;
                return Ok(value.to_owned());
            }
        }
        Err(format!("a value in quotes is missing before {}", quote(self.rest)))
    }

    /// `{'a', 'b'}`, sorted, each once.
    fn values(&mut self) -> Result<Vec<String>, String> {
        self.need("{")?;
        let mut values = Vec::new();
        if !self.eat("}") {
            loop {
                values.push(self.value()?);
                if !self.eat(",") {
                    break;
                }
            }
            self.need("}")?;
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }
}
