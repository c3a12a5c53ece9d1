//! The daemon's answer, as far as it is drawn.

use std::collections::HashMap;

use serde_json::Value;

use crate::cli::print::list;

/// What policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Allowed,
    PotentiallyBlocked,
    Blocked,
}

impl State {
    pub(super) const ALL: [Self; 3] = [Self::Allowed, Self::PotentiallyBlocked, Self::Blocked];

    /// The word for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::PotentiallyBlocked => "potentially blocked",
            Self::Blocked => "blocked",
        }
    }

    /// What stands for it where colours may not be told apart.
    pub(super) const fn symbol(self) -> char {
        match self {
            Self::Allowed => '●',
            Self::PotentiallyBlocked => '◐',
            Self::Blocked => '✗',
        }
    }

    fn read(value: &Value) -> Option<Self> {
        match value.as_str()? {
            "allowed" => Some(Self::Allowed),
            "potentially-blocked" => Some(Self::PotentiallyBlocked),
            _ => Some(Self::Blocked),
        }
    }
}

/// One end of edges.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) group: usize,
    pub(super) workloads: u64,
    pub(super) examples: Vec<String>,
}

/// Nodes that stand together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) workloads: u64,
    /// Indices of [`Drawing::nodes`].
    pub(super) nodes: Vec<usize>,
}

/// A service of an edge.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) draft: Option<State>,
    pub(super) flows: u64,
    /// What decided, or would have.
    pub(super) rules: Vec<String>,
    pub(super) draft_rules: Vec<String>,
}

/// Flows between two nodes.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) state: State,
    pub(super) draft: Option<State>,
    pub(super) flows: u64,
    pub(super) bytes: u64,
    pub(super) services: Vec<Service>,
    pub(super) more_services: u64,
    pub(super) last_seen: String,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Drawing {
    pub(super) groups: Vec<Group>,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    /// `map by app, role; epoch 12; 1 234 flows`.
    pub(super) title: String,
    /// How much of what happened it shows.
    pub(super) completeness: String,
    pub(super) draft: Option<String>,
    pub(super) left_out: Vec<String>,
}

/// The text of a word, without what a terminal would obey and XML cannot hold.
fn word(value: &Value) -> String {
    let plain = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    crate::cli::print::word(value).chars().map(plain).collect()
}

fn words(value: &Value) -> Vec<String> {
    list(value).iter().map(word).collect()
}

impl Drawing {
    pub(super) fn read(answer: &Value) -> Self {
        let mut drawing = Self {
            title: title(answer),
            completeness: crate::cli::print::completeness(&answer["completeness"]).trim_end().to_owned(),
            draft: answer["draft"].as_str().map(|_| word(&answer["draft"])),
            left_out: left_out(&answer["left_out"]),
            ..Self::default()
        };
        let mut ids: HashMap<&str, usize> = HashMap::new();
        for (at, group) in list(&answer["groups"]).iter().enumerate() {
            let mut inside = Vec::new();
            for node in list(&group["nodes"]) {
                ids.insert(node["id"].as_str().unwrap_or(""), drawing.nodes.len());
                inside.push(drawing.nodes.len());
                drawing.nodes.push(Node {
                    name: word(&node["name"]),
                    group: at,
                    workloads: node["workloads"].as_u64().unwrap_or(0),
                    examples: words(&node["examples"]),
                });
            }
            drawing.groups.push(Group {
                name: word(&group["name"]),
                kind: word(&group["kind"]),
                workloads: group["workloads"].as_u64().unwrap_or(0),
                nodes: inside,
            });
        }
        let end = |id: &Value| ids.get(id.as_str().unwrap_or("")).copied();
        for one in list(&answer["edges"]) {
            let (Some(from), Some(to)) = (end(&one["from"]), end(&one["to"])) else { continue };
            drawing.edges.push(Edge {
                from,
                to,
                state: State::read(&one["state"]).unwrap_or(State::Blocked),
                draft: State::read(&one["draft"]),
                flows: one["flows"].as_u64().unwrap_or(0),
                bytes: one["bytes"].as_u64().unwrap_or(0),
                services: list(&one["services"]).iter().map(service).collect(),
                more_services: one["services_left_out"].as_u64().unwrap_or(0),
                last_seen: word(&one["last_seen"]),
            });
        }
        drawing
    }

    /// `app=shop / role=web`.
    pub(super) fn full_name(&self, node: usize) -> String {
        let one = &self.nodes[node];
        let group = &self.groups[one.group].name;
        if *group == one.name { group.clone() } else { format!("{group} / {}", one.name) }
    }
}

fn service(one: &Value) -> Service {
    let potential = words(&one["potential"]);
    Service {
        name: word(&one["service"]),
        draft: State::read(&one["draft"]),
        flows: one["flows"].as_u64().unwrap_or(0),
        rules: if potential.is_empty() { words(&one["rules"]) } else { potential },
        draft_rules: words(&one["draft_rules"]),
    }
}

fn title(answer: &Value) -> String {
    let count = crate::cli::print::count(&answer["totals"]["flows"]);
    let keys = |value: String| if value.is_empty() { "nothing".to_owned() } else { value };
    let by = keys(words(&answer["by"]).join(","));
    let mut title = format!("{count} flows; groups by {by}, nodes by {}", keys(word(&answer["tier"])));
    if !answer["draft"].is_null() {
        title.push_str(&format!("; draft {} beside it", word(&answer["draft"])));
    }
    title
}

fn left_out(value: &Value) -> Vec<String> {
    let one = |key: &str| {
        let count = value[key].as_u64().filter(|count| *count > 0)?;
        Some(format!("{count} {key}"))
    };
    let edges =
        one("edges").map(|edges| format!("{edges} with {} flows", crate::cli::print::count(&value["flows"])));
    [edges, one("groups"), one("nodes")].into_iter().flatten().collect()
}
