//! The rules that name a pair, or nearly do, and why each but one did not decide.

use dataplane::verdict::Gate;
use serde::Serialize;

use super::CANDIDATES_MAX;
use super::end::{Regime, unlike};
use super::scene::{GateView, Placed, Scene};
use crate::policy::valid::{Action, INFRASTRUCTURE, ServiceRange};

/// A rule that names the pair, or would but for one requirement, and did not decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its name.
    pub rule: String,
    /// Its tier.
    pub tier: String,
    /// `allow`, `deny`, `reject` or `pass`.
    pub action: &'static str,
    /// Why it did not decide.
    pub lost: String,
}

/// How near a rule is to naming the pair.
enum Near {
    /// Both ends match.
    Pair,
    /// But for one requirement it would match the flow; the text says which.
    Miss(String),
}

/// The rules that did not decide, up to [`CANDIDATES_MAX`], in order of evaluation, and how many more there are.
pub(super) fn losers(
    scene: &Scene<'_>,
    gates: &[GateView<'_>; 2],
    winner: &str,
    decided: Gate,
) -> (Vec<Candidate>, usize) {
    let mut told = Vec::new();
    let mut more = 0;
    for tier in &scene.policy.tiers {
        for rule in tier.rules.iter().filter(|rule| rule.name != winner) {
            let placed = Placed { tier: &tier.name, rule };
            let Some(near) = near(scene, placed) else { continue };
            if told.len() == CANDIDATES_MAX {
                more += 1;
                continue;
            }
            told.push(Candidate {
                rule: rule.name.clone(),
                tier: tier.name.clone(),
                action: rule.action.name(),
                lost: match near {
                    Near::Miss(why) => why,
                    Near::Pair => why_lost(scene, gates, decided, placed),
                },
            });
        }
    }
    (told, more)
}

fn near(scene: &Scene<'_>, Placed { rule, .. }: Placed<'_>) -> Option<Near> {
    let (from, to) = (scene.from.missing(&rule.from), scene.to.missing(&rule.to));
    let unlike = unlike(rule, &scene.from, &scene.to);
    match (from.as_slice(), to.as_slice(), unlike) {
        ([], [], None) => Some(Near::Pair),
        _ if !scene.covers(rule, &[]) => None,
        ([one], [], None) => Some(Near::Miss(format!("the source does not meet `{one}`"))),
        ([], [one], None) => Some(Near::Miss(format!("the destination does not meet `{one}`"))),
        ([], [], Some(key)) => Some(Near::Miss(format!("the ends have no value of `{key}` in common"))),
        _ => None,
    }
}

fn why_lost(scene: &Scene<'_>, gates: &[GateView<'_>; 2], decided: Gate, placed: Placed<'_>) -> String {
    let rule = placed.rule;
    if rule.staged {
        return "it is staged: it is recorded and decides nothing".to_owned();
    }
    if !scene.covers(rule, &[]) {
        let services: Vec<String> = rule.services.iter().map(ServiceRange::to_string).collect();
        let services = if services.is_empty() { "no service".to_owned() } else { services.join(", ") };
        return format!("it covers {services} only");
    }
    let [egress, ingress] = gates;
    let speaks = [(egress, rule.gates.egress), (ingress, rule.gates.ingress)];
    let reasons: Vec<String> = speaks
        .iter()
        .filter(|(_, speaks)| *speaks)
        .map(|(gate, _)| gate_lost(gate, placed, decided))
        .collect();
    if reasons.is_empty() { "it speaks at no gate".to_owned() } else { reasons.join("; ") }
}

fn gate_lost(view: &GateView<'_>, placed: Placed<'_>, decided: Gate) -> String {
    let gate = view.gate.name();
    let met = |one: &&Placed<'_>| one.rule.name == placed.rule.name;
    match (view.regime, view.trail.iter().find(met), view.trail.last()) {
        (Regime::Off, ..) => format!("the {gate} gate is off and looks at no rule"),
        (_, Some(met), _) if met.rule.action == Action::Pass => {
            format!("it passes the {gate} gate on to the tiers after `{}`", met.tier)
        }
        (_, None, Some(last)) => {
            let first = view.trail.iter().find(|one| one.tier == placed.tier).unwrap_or(last);
            format!("`{}` comes first at the {gate} gate", first.rule.name)
        }
        (Regime::Quarantine, ..) if placed.tier != INFRASTRUCTURE => {
            format!("the {gate} gate is in quarantine, where only infrastructure rules count")
        }
        _ if view.gate != decided => {
            let does = match placed.rule.action {
                Action::Allow => "opens",
                Action::Deny | Action::Reject => "closes",
                Action::Pass => "passes on",
            };
            format!("it {does} the {gate} gate, but the {} gate decides", decided.name())
        }
        _ => format!("it does not decide at the {gate} gate"),
    }
}
