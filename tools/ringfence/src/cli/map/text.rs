//! The map on a terminal: every node with what it opens, and what policy says of it.

use super::drawing::{Drawing, Edge, State};

/// Services that are named on one line.
const SERVICES_MAX: usize = 4;
/// Workloads that are named of one node.
const EXAMPLES_MAX: usize = 3;

/// Who speaks to whom. Only with `colours`, escape sequences of a terminal.
pub(super) fn text(drawing: &Drawing, colours: bool) -> String {
    let paint = |state: State, text: &str| {
        let code = match state {
            State::Allowed => "36",
            State::PotentiallyBlocked => "33",
            State::Blocked => "35",
        };
        if colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    };
    let bold = |text: &str| if colours { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() };
    let legend = State::ALL.map(|state| paint(state, &format!("{} {}", state.symbol(), state.name())));
    let mut text = format!("{}\n{}\n", drawing.title, legend.join("  "));
    if drawing.edges.is_empty() {
        text.push_str("\nno flows\n");
    }
    let mut opened: Vec<Vec<&Edge>> = vec![Vec::new(); drawing.nodes.len()];
    drawing.edges.iter().for_each(|edge| opened[edge.from].push(edge));
    for group in &drawing.groups {
        let workloads = match group.workloads {
            0 => String::new(),
            1 => " · 1 workload".into(),
            many => format!(" · {many} workloads"),
        };
        text.push_str(&format!("\n{}{workloads}\n", bold(&group.name)));
        for &at in &group.nodes {
            let node = &drawing.nodes[at];
            text.push_str(&format!("  {}{}\n", node.name, examples(&node.examples, node.workloads)));
            let mut edges = opened[at].clone();
            edges.sort_by_key(|edge| (drawing.full_name(edge.to), edge.state));
            let longest = |word: &dyn Fn(&Edge) -> String| {
                edges.iter().map(|edge| word(edge).chars().count()).max().unwrap_or(0)
            };
            let columns = [longest(&|edge| drawing.full_name(edge.to)), longest(&services)];
            for edge in &edges {
                text.push_str(&line(drawing, edge, columns, &paint));
            }
        }
    }
    text.push_str(&format!("\n{}\n", drawing.completeness));
    if !drawing.left_out.is_empty() {
        text.push_str(&format!(
            "left out: {}; narrow the filter or raise --limit\n",
            drawing.left_out.join(", ")
        ));
    }
    text
}

fn line(
    drawing: &Drawing,
    edge: &Edge,
    [names, lists]: [usize; 2],
    paint: &dyn Fn(State, &str) -> String,
) -> String {
    let mark = |state: State| paint(state, &state.symbol().to_string());
    let marks = match edge.draft {
        None => mark(edge.state),
        Some(draft) if draft == edge.state => format!("{}    ", mark(edge.state)),
        Some(draft) => format!("{} ⇒ {}", mark(edge.state), mark(draft)),
    };
    let mut text = format!(
        "    {marks} → {:names$}  {:lists$}  {} flows, {}\n",
        drawing.full_name(edge.to),
        services(edge),
        crate::cli::print::thousands(edge.flows),
        bytes(edge.bytes)
    );
    let mut rules: Vec<&str> = Vec::new();
    for service in &edge.services {
        rules.extend(service.rules.iter().map(String::as_str));
    }
    let mut later: Vec<&str> = Vec::new();
    for service in edge.services.iter().filter(|one| one.draft.is_some_and(|draft| draft != edge.state)) {
        later.extend(service.draft_rules.iter().map(String::as_str));
    }
    let mut by = format!("by {}", some(rules));
    if !later.is_empty() {
        by.push_str(&format!(" ⇒ {}", some(later)));
    }
    text.push_str(&format!("        {}\n", paint(edge.state, &by)));
    text
}

/// Some of the names, each once.
fn some(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(SERVICES_MAX);
    names.truncate(SERVICES_MAX);
    let mut text = names.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn services(edge: &Edge) -> String {
    let mut names: Vec<&str> = Vec::new();
    for service in &edge.services {
        if !names.contains(&service.name.as_str()) {
            names.push(&service.name);
        }
    }
    let more = (names.len() as u64 + edge.more_services).saturating_sub(SERVICES_MAX as u64);
    names.truncate(SERVICES_MAX);
    let mut text = names.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn examples(names: &[String], workloads: u64) -> String {
    if names.is_empty() {
        return String::new();
    }
    let shown = names.iter().take(EXAMPLES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if workloads > 0 {
        workloads.saturating_sub(EXAMPLES_MAX as u64)
    } else {
        (names.len().saturating_sub(EXAMPLES_MAX)) as u64
    };
    match (more, workloads) {
        (0, _) => format!(" ({shown})"),
        (more, 0) => format!(" ({shown}, {more} more and maybe others)"),
        (more, _) => format!(" ({shown}, {more} more)"),
    }
}

/// `12 kB`.
pub(super) fn bytes(count: u64) -> String {
    let mut count = count;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if count < 10_000 {
            return format!("{count} {unit}");
        }
        count = (count + 500) / 1000;
    }
    format!("{count} PB")
}
