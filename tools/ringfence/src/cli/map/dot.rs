//! The map for Graphviz: groups are clusters.

use std::fmt::Write;

use super::drawing::{Drawing, Edge, State};

/// Services that are named on one edge.
const SERVICES_MAX: usize = 3;

/// A directed graph in the DOT language.
pub(super) fn dot(drawing: &Drawing) -> String {
    let mut text = String::from("digraph ringfence {\n");
    let _ = writeln!(
        text,
        "  graph [rankdir=LR, fontname=\"sans-serif\", labelloc=t, label={}];",
        quoted(&format!("{}\n{}", drawing.title, drawing.completeness))
    );
    text.push_str(
        "  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"];\n",
    );
    text.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
    for (at, group) in drawing.groups.iter().enumerate() {
        let _ = writeln!(text, "  subgraph cluster_{at} {{");
        let _ = writeln!(
            text,
            "    label={}; style=\"rounded,filled\"; fillcolor=\"#f2f4f7\";",
            quoted(&group.name)
        );
        for &node in &group.nodes {
            let one = &drawing.nodes[node];
            let label = if one.workloads == 0 {
                one.name.clone()
            } else {
                format!("{}\n{}", one.name, one.workloads)
            };
            let _ = writeln!(
                text,
                "    n{node} [label={}, tooltip={}];",
                quoted(&label),
                quoted(&one.examples.join(", "))
            );
        }
        text.push_str("  }\n");
    }
    let most = drawing.edges.iter().map(|edge| edge.flows).max().unwrap_or(0);
    for edge in &drawing.edges {
        let (colour, style) = look(edge.state);
        let colours = match edge.draft {
            Some(draft) if draft != edge.state => format!("{colour}:{}", look(draft).0),
            _ => colour.to_owned(),
        };
        let _ = writeln!(
            text,
            "  n{} -> n{} [color=\"{colours}\", style={style}, penwidth={:.1}, label={}, tooltip={}];",
            edge.from,
            edge.to,
            width(edge.flows, most),
            quoted(&label(edge)),
            quoted(&format!("{}, {} flows", edge.state.name(), edge.flows)),
        );
    }
    text.push_str("}\n");
    text
}

const fn look(state: State) -> (&'static str, &'static str) {
    match state {
        State::Allowed => ("#0072b2", "solid"),
        State::PotentiallyBlocked => ("#b26a00", "dashed"),
        State::Blocked => ("#b3246b", "dotted"),
    }
}

/// Points, from 1 to 6, by the logarithm of the flows.
pub(super) fn width(flows: u64, most: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a width")]
    let log = |count: u64| (count as f64 + 1.0).ln();
    if most == 0 { 1.0 } else { 1.0 + 5.0 * log(flows) / log(most) }
}

fn label(edge: &Edge) -> String {
    let mut names: Vec<&str> = edge.services.iter().map(|one| one.name.as_str()).collect();
    names.dedup();
    let more = (names.len() as u64 + edge.more_services).saturating_sub(SERVICES_MAX as u64);
    names.truncate(SERVICES_MAX);
    let mut text = names.join("\n");
    if more > 0 {
        let _ = write!(text, "\n+{more}");
    }
    if let Some(draft) = edge.draft.filter(|draft| *draft != edge.state) {
        let _ = write!(text, "\n⇒ {}", draft.name());
    }
    text
}

/// A quoted string of the DOT language, where `\n` breaks lines and nothing else is special.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            letter if letter.is_control() => quoted.push('\u{fffd}'),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
