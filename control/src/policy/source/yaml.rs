//! YAML text to a tree of nodes with places. The only module that knows the parser.
//!
//! Bounded: nesting, nodes, and copies through aliases. Every scalar keeps its text as written.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};

/// The deepest nesting of lists and mappings in a document.
pub(crate) const DEPTH_MAX: usize = 32;
/// The most nodes (words, lists and mappings) held at once.
pub(crate) const NODES_MAX: usize = 4_000_000;
/// The most nodes of one file that come from aliases, so that a few lines cannot stand for gigabytes.
pub(crate) const ALIASED_MAX: usize = 1_000_000;

/// A word, list or mapping and its place.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Node<'a> {
    pub(in crate::policy) span: Span,
    pub(in crate::policy) value: Value<'a>,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(in crate::policy) enum Value<'a> {
    /// Blank, `~` or `null`, unquoted.
    Blank,
    Word(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// Keys are words, unique.
    Mapping(Vec<(Node<'a>, Node<'a>)>),
}

impl Node<'_> {
    /// What it is, for messages.
    pub(in crate::policy) fn kind(&self) -> &'static str {
        match self.value {
            Value::Blank => "nothing",
            Value::Word(_) => "a word",
            Value::List(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// The text if it is a word, otherwise empty.
    pub(in crate::policy) fn text(&self) -> &str {
        if let Value::Word(text) = &self.value { text } else { "" }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::Blank | Value::Word(_) => 0,
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Mapping(entries) => entries.iter().map(|(key, value)| key.count() + value.count()).sum(),
        }
    }
}

/// What the nodes of a file are handed to.
pub(super) trait Receiver<'a> {
    /// Whether a document that begins with this entry wants the items of its list `list` one by one: a long list
    /// is then never held as a whole.
    fn wants(&self, first: &(Node<'a>, Node<'a>), list: &str) -> bool;

    /// An item of such a list. The list comes with its document too, but empty.
    fn item(&mut self, list: &str, item: Node<'a>, sink: &mut Sink<'_>);

    /// A document that is not blank. Returns whether it could be read whole.
    fn document(&mut self, document: Node<'a>, sink: &mut Sink<'_>) -> bool;
}

/// Hands every document of `text` to `receiver`. Returns whether all of them could be read whole.
pub(super) fn documents<'a>(
    text: &'a str,
    file: usize,
    receiver: &mut dyn Receiver<'a>,
    sink: &mut Sink<'_>,
) -> bool {
    let mut options =
        granit_parser::options! { flow_nesting_limit: 2 * DEPTH_MAX, block_nesting_limit: 2 * DEPTH_MAX };
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(text, options);
    let file = u32::try_from(file).unwrap_or(u32::MAX);
    let mut tree =
        Tree { parser, file, len: text.len(), receiver, anchors: HashMap::new(), nodes: 0, aliased: 0 };
    let mut whole = true;
    loop {
        match tree.document(sink) {
            Ok(Some(Node { value: Value::Blank, .. })) => {}
            Ok(Some(document)) => whole &= tree.receiver.document(document, sink),
            Ok(None) => return whole,
            Err(Stop::Limit(finding)) => {
                sink.push(*finding);
                return false;
            }
            Err(Stop::Syntax(error)) => {
                whole = false;
                sink.push(tree.syntax(&error));
                if !matches!(tree.parser.proceed_next_document(), Ok(true)) {
                    return false;
                }
            }
        }
    }
}

/// Why a document cannot be read on.
enum Stop {
    Syntax(ScanError),
    Limit(Box<Finding>),
}

type Step<T> = Result<T, Stop>;

struct Tree<'a, 'r> {
    parser: Parser<'a, StrInput<'a>>,
    file: u32,
    len: usize,
    receiver: &'r mut dyn Receiver<'a>,
    anchors: HashMap<usize, Node<'a>>,
    nodes: usize,
    aliased: usize,
}

impl<'a> Tree<'a, '_> {
    fn next(&mut self) -> Step<Option<(Event<'a>, Span)>> {
        let Some(event) = self.parser.next_event() else { return Ok(None) };
        let (event, span) = event.map_err(Stop::Syntax)?;
        Ok(Some((event, self.span(span.start, span.end))))
    }

    fn span(&self, start: granit_parser::Marker, end: granit_parser::Marker) -> Span {
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Span {
            file: self.file,
            line: small(start.line().max(1)),
            column: small(start.col() + 1),
            start: small(start.byte_offset().unwrap_or(self.len)),
            end: small(end.byte_offset().unwrap_or(self.len)),
        }
    }

    fn syntax(&self, error: &ScanError) -> Finding {
        let span = self.span(*error.marker(), *error.marker());
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            return too_deep(span);
        }
        let mut text = error.info();
        text.retain(|c| !c.is_control());
        text.truncate(text.floor_char_boundary(300));
        Finding::error(Code::Syntax, span, format!("this is not YAML: {text}"))
    }

    /// The next document, or `None` at the end.
    fn document(&mut self, sink: &mut Sink<'_>) -> Step<Option<Node<'a>>> {
        self.anchors.clear();
        self.nodes = 0;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(None),
                event => return self.node(event, span, 0, sink).map(Some),
            }
        }
        Ok(None)
    }

    /// The node that `event` begins.
    fn node(
        &mut self,
        event: Event<'a>,
        mut span: Span,
        depth: usize,
        sink: &mut Sink<'_>,
    ) -> Step<Node<'a>> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let finding =
                Finding::error(Code::Limit, span, format!("more than {NODES_MAX} words, lists and mappings"));
            return Err(Stop::Limit(Box::new(
                finding.help("a long policy must begin with the line `ringfence: 1`"),
            )));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.as_deref(), span, sink);
                let blank =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                (if blank { Value::Blank } else { Value::Word(text) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag(tag.as_deref(), span, sink);
                (Value::List(self.list(&mut span, depth, sink)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_tag(tag.as_deref(), span, sink);
                (Value::Mapping(self.mapping(&mut span, depth, sink)?), anchor)
            }
            Event::Alias(id) => return self.alias(id, span, sink),
            // The parser's grammar leaves no other event here; a blank is the safe reading of one.
            _ => (Value::Blank, 0),
        };
        let node = Node { span, value };
        if anchor != 0 {
            self.copied(node.count(), span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: Span, sink: &mut Sink<'_>) -> Step<Node<'a>> {
        let Some(node) = self.anchors.get(&id).map(Node::count) else {
            sink.push(Finding::error(
                Code::YamlFeature,
                span,
                "this alias stands inside the very node it names",
            ));
            return Ok(Node { span, value: Value::Blank });
        };
        self.copied(node, span)?;
        let value = self.anchors.get(&id).map_or(Value::Blank, |node| node.value.clone());
        Ok(Node { span, value })
    }

    /// Counts nodes that exist a second time because of an anchor or alias.
    fn copied(&mut self, count: usize, span: Span) -> Step<()> {
        self.aliased += count;
        if self.aliased > ALIASED_MAX {
            return Err(limit(
                span,
                format!("aliases stand for more than {ALIASED_MAX} words, lists and mappings"),
            ));
        }
        Ok(())
    }

    /// The items of a list that began at `whole`, which is made to reach to its end.
    fn list(&mut self, whole: &mut Span, depth: usize, sink: &mut Sink<'_>) -> Step<Vec<Node<'a>>> {
        deeper(*whole, depth)?;
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                whole.end = span.end;
                break;
            }
            items.push(self.node(event, span, depth + 1, sink)?);
        }
        Ok(items)
    }

    /// As [`Tree::list`], for a mapping.
    fn mapping(
        &mut self,
        whole: &mut Span,
        depth: usize,
        sink: &mut Sink<'_>,
    ) -> Step<Vec<(Node<'a>, Node<'a>)>> {
        deeper(*whole, depth)?;
        let mut entries = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                whole.end = span.end;
                break;
            }
            let key = self.node(event, span, depth + 1, sink)?;
            let Some((event, span)) = self.next()? else { break };
            let value = match (&event, entries.first()) {
                (Event::SequenceStart(_, 0, None), Some(first))
                    if depth == 0 && self.receiver.wants(first, key.text()) =>
                {
                    self.streamed(key.text(), span, sink)?
                }
                _ => self.node(event, span, depth + 1, sink)?,
            };
            match &key.value {
                Value::Word(text) if text == "<<" => sink.push(
                    Finding::error(Code::YamlFeature, key.span, "merge keys (`<<`) are not read")
                        .help("write the fields out, or use an alias for the whole value"),
                ),
                Value::Word(_) => entries.push((key, value)),
                _ => {
                    let text = format!("a key must be a word; this is {}", key.kind());
                    sink.push(Finding::error(Code::YamlFeature, key.span, text));
                }
            }
        }
        Ok(without_duplicates(entries, sink))
    }

    /// Hands on the items of a list that began at `span`; what is left is an empty list.
    fn streamed(&mut self, list: &str, mut span: Span, sink: &mut Sink<'_>) -> Step<Node<'a>> {
        let before = self.nodes;
        while let Some((event, at)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                span.end = at.end;
                break;
            }
            let item = self.node(event, at, 2, sink)?;
            self.receiver.item(list, item, sink);
            self.nodes = before;
        }
        Ok(Node { span, value: Value::List(Vec::new()) })
    }
}

fn limit(span: Span, message: String) -> Stop {
    Stop::Limit(Box::new(Finding::error(Code::Limit, span, message)))
}

fn deeper(span: Span, depth: usize) -> Step<()> {
    if depth >= DEPTH_MAX { Err(Stop::Limit(Box::new(too_deep(span)))) } else { Ok(()) }
}

fn too_deep(span: Span) -> Finding {
    Finding::error(Code::Limit, span, format!("lists and mappings are nested more than {DEPTH_MAX} deep"))
}

fn refuse_tag(tag: Option<&Tag>, span: Span, sink: &mut Sink<'_>) {
    if let Some(tag) = tag {
        let text = format!("the tag {} has no meaning in a policy", quote(&tag.original()));
        sink.push(Finding::error(Code::YamlFeature, span, text).help("remove the tag"));
    }
}

/// Reports keys that stand twice and keeps the first of each.
fn without_duplicates<'a>(
    entries: Vec<(Node<'a>, Node<'a>)>,
    sink: &mut Sink<'_>,
) -> Vec<(Node<'a>, Node<'a>)> {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    let mut keep = vec![true; entries.len()];
    // Most mappings have a handful of keys, for which a table would only cost.
    let small = entries.len() <= 8;
    for (at, (key, _)) in entries.iter().enumerate() {
        let first = if small {
            entries[..at].iter().find(|(other, _)| other.text() == key.text()).map(|(other, _)| other.span)
        } else {
            let first = seen.get(key.text()).copied();
            seen.entry(key.text()).or_insert(key.span);
            first
        };
        if let Some(first) = first {
            keep[at] = false;
            let text = format!("the key {} stands here for the second time", quote(key.text()));
            sink.push(Finding::error(Code::DuplicateKey, key.span, text).also(first, "first here"));
        }
    }
    if keep.iter().all(|keep| *keep) {
        return entries;
    }
    entries.into_iter().zip(keep).filter_map(|(entry, keep)| keep.then_some(entry)).collect()
}
