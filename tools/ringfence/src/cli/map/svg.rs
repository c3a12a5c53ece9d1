//! The map as a picture: one SVG file that refers to nothing outside, light or dark as the reader likes it. What policy
//! says is told by colour, by the dashes of a line, and by a sign on it.

use std::fmt::Write;

use super::dot::width;
use super::drawing::{Drawing, Edge, State};
use super::layout::{Area, HEAD, Layout, Point, layout};
use super::text::bytes;

/// Around everything.
const MARGIN: f64 = 24.0;
/// Above the map: title, legend.
const TOP: f64 = 84.0;
/// Letters of a name that fit into a node, and into a group's head.
const NODE_LETTERS: usize = 24;
const GROUP_LETTERS: usize = 26;
/// Groups without flows on one line at the foot.
const IDLE_A_LINE: usize = 6;
const IDLE_MAX: usize = 60;

const STYLE: &str = "
svg{color-scheme:light dark;--back:#fff;--ink:#1b1f24;--dim:#59636e;--group:#f2f4f7;--line:#c9d1d9;--node:#fff;\
--allowed:#0072b2;--potential:#b26a00;--blocked:#b3246b}
@media (prefers-color-scheme:dark){svg{--back:#14181d;--ink:#e6e9ec;--dim:#9aa4ae;--group:#1d232a;--line:#3b444e;\
--node:#27303a;--allowed:#56b4e9;--potential:#f0a83c;--blocked:#f27db4}}
text{font:13px system-ui,sans-serif;fill:var(--ink)}.dim{fill:var(--dim);font-size:12px}.title{font-size:17px;\
font-weight:600}.head{font-weight:600}
.back{fill:var(--back)}.group{fill:var(--group);stroke:var(--line)}.node{fill:var(--node);stroke:var(--line)}
.edge{fill:none;stroke:currentColor;stroke-opacity:.8}.edge:hover,g:hover>.edge{stroke-opacity:1}.sign{fill:currentColor;\
font-size:12px;text-anchor:middle;paint-order:stroke;stroke:var(--back);stroke-width:3px}
.allowed{color:var(--allowed)}.potential{color:var(--potential)}.blocked{color:var(--blocked)}
.potential>.edge{stroke-dasharray:9 5}.blocked>.edge{stroke-dasharray:2 5;stroke-linecap:round}.tip{fill:currentColor}
";

/// The picture.
pub(super) fn svg(drawing: &Drawing) -> String {
    let layout = layout(drawing);
    let idle = idle(drawing, &layout);
    let foot = idle.len() as f64 * 18.0 + if idle.is_empty() { 0.0 } else { 30.0 };
    let wide = (layout.width + 2.0 * MARGIN).max(980.0);
    let high = layout.height + TOP + foot + 2.0 * MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide:.0}\" height=\"{high:.0}\" \
         viewBox=\"0 0 {wide:.0} {high:.0}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">Application dependency map</title>\n<desc id=\"d\">{}. {}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"100%\" height=\"100%\"/>\n",
        escaped(&drawing.title),
        escaped(&drawing.completeness)
    );
    header(drawing, &mut text);
    let _ = writeln!(text, "<g transform=\"translate({MARGIN} {})\">", TOP + MARGIN);
    for (group, area) in drawing.groups.iter().zip(&layout.groups) {
        if let Some(area) = area {
            rect("group", *area, 10, &mut text);
            let name = label(area.x + 12.0, area.y + HEAD - 10.0, "head", &group.name, GROUP_LETTERS);
            let tip = format!("{} ({}), {} workloads", group.name, group.kind, group.workloads);
            let _ = writeln!(text, "<g><title>{}</title>{name}</g>", escaped(&tip));
        }
    }
    // Thick lines first, so that thin ones stay to be seen.
    let mut order: Vec<usize> = (0..drawing.edges.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(drawing.edges[*at].flows));
    let most = drawing.edges.iter().map(|edge| edge.flows).max().unwrap_or(0);
    for at in order {
        edge(drawing, &drawing.edges[at], &layout.edges[at], most, &mut text);
    }
    for (node, area) in drawing.nodes.iter().zip(&layout.nodes) {
        if let Some(area) = area {
            let workloads = if node.workloads == 0 { String::new() } else { node.workloads.to_string() };
            let tip = format!("{}: {}", node.name, node.examples.join(", "));
            let _ = write!(text, "<g><title>{}</title>", escaped(&tip));
            rect("node", *area, 6, &mut text);
            let y = area.y + area.h / 2.0 + 4.5;
            text.push_str(&label(area.x + 12.0, y, "", &node.name, NODE_LETTERS));
            let _ = writeln!(
                text,
                "<text class=\"dim\" x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{workloads}</text></g>",
                area.x + area.w - 10.0
            );
        }
    }
    text.push_str("</g>\n");
    for (at, line) in idle.iter().enumerate() {
        let y = layout.height + TOP + MARGIN + 30.0 + at as f64 * 18.0;
        let _ = writeln!(text, "<text class=\"dim\" x=\"{MARGIN}\" y=\"{y:.1}\">{}</text>", escaped(line));
    }
    text.push_str("</svg>\n");
    text
}

/// Title, completeness, legend.
fn header(drawing: &Drawing, text: &mut String) {
    let left_out = match drawing.left_out.is_empty() {
        true => String::new(),
        false => format!("; left out: {}", drawing.left_out.join(", ")),
    };
    let below = format!("{}{left_out}", drawing.completeness);
    for (y, class, line) in [(32.0, "title", drawing.title.as_str()), (54.0, "dim", below.as_str())] {
        let _ = writeln!(text, "<text class=\"{class}\" x=\"{MARGIN}\" y=\"{y}\">{}</text>", escaped(line));
    }
    let mut x = MARGIN;
    for state in State::ALL {
        let (y, mid) = (76.0, x + 17.0);
        let _ = writeln!(
            text,
            "<g class=\"{0}\"><path class=\"edge\" stroke-width=\"3\" d=\"M{x} {y}h34\"/><text class=\"sign\" x=\"{mid}\" \
             y=\"{1}\">{2}</text></g><text x=\"{3}\" y=\"{1}\">{4}</text>",
            class(state),
            y + 4.5,
            state.symbol(),
            x + 42.0,
            state.name()
        );
        x += 60.0 + 7.6 * state.name().len() as f64;
    }
    let draft = match &drawing.draft {
        Some(name) => format!("; the second line is what draft {name} says where it says otherwise"),
        None => String::new(),
    };
    let _ = writeln!(
        text,
        "<text class=\"dim\" x=\"{x}\" y=\"80.5\">wider: more flows{}</text>",
        escaped(&draft)
    );
}

const fn class(state: State) -> &'static str {
    match state {
        State::Allowed => "allowed",
        State::PotentiallyBlocked => "potential",
        State::Blocked => "blocked",
    }
}

fn edge(drawing: &Drawing, edge: &Edge, way: &[Point], most: u64, text: &mut String) {
    let [first, .., last] = way else { return };
    let wide = width(edge.flows, most);
    let services: Vec<String> =
        edge.services.iter().take(8).map(|one| format!("{} ({} flows)", one.name, one.flows)).collect();
    let mut tip = format!(
        "{} → {}\n{}: {} flows, {}, last {}\n{}",
        drawing.full_name(edge.from),
        drawing.full_name(edge.to),
        edge.state.name(),
        edge.flows,
        bytes(edge.bytes),
        edge.last_seen,
        services.join("\n")
    );
    let other = edge.draft.filter(|draft| *draft != edge.state);
    if let Some(draft) = other {
        let _ = write!(tip, "\nthe draft: {}", draft.name());
    }
    let _ = write!(text, "<g class=\"{}\"><title>{}</title>", class(edge.state), escaped(&tip));
    let path = path(way, 0.0);
    let _ = write!(text, "<path class=\"edge\" stroke-width=\"{wide:.1}\" d=\"{path}\"/>");
    let mut sign = edge.state.symbol().to_string();
    if let Some(draft) = other {
        let beside = self::path(way, wide / 2.0 + 3.0);
        let _ = write!(
            text,
            "<g class=\"{}\"><path class=\"edge\" stroke-width=\"2.5\" d=\"{beside}\"/></g>",
            class(draft)
        );
        let _ = write!(
            sign,
            "⇒<tspan class=\"{}\" fill=\"currentColor\">{}</tspan>",
            class(draft),
            draft.symbol()
        );
    }
    // The tip, on the side from which the edge comes.
    let inwards = if last.0 >= way[way.len() - 2].0 && (last.0 - first.0).abs() > 1.0 { -1.0 } else { 1.0 };
    let size = 5.0 + wide;
    let _ = write!(
        text,
        "<path class=\"tip\" d=\"M{:.1} {:.1}l{:.1} {:.1}v{:.1}z\"/>",
        last.0,
        last.1,
        inwards * size,
        size * 0.5,
        -size
    );
    let (x, y) = between(way);
    let _ = writeln!(text, "<text class=\"sign\" x=\"{x:.1}\" y=\"{:.1}\">{sign}</text></g>", y + 4.5);
}

/// How far a curve that returns to its side goes out.
fn bulge(a: Point, b: Point) -> f64 {
    34.0 + (a.1 - b.1).abs().min(160.0) / 3.0
}

/// Curves that run level through every point; `lower` pixels down.
fn path(way: &[Point], lower: f64) -> String {
    let mut path = String::new();
    for (at, pair) in way.windows(2).enumerate() {
        let (a, b) = ((pair[0].0, pair[0].1 + lower), (pair[1].0, pair[1].1 + lower));
        if at == 0 {
            let _ = write!(path, "M{:.1} {:.1}", a.0, a.1);
        }
        let reach =
            if (b.0 - a.0).abs() < 1.0 { [bulge(a, b); 2] } else { [(b.0 - a.0) / 2.0, (a.0 - b.0) / 2.0] };
        let _ = write!(
            path,
            "C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
            a.0 + reach[0],
            a.1,
            b.0 + reach[1],
            b.1,
            b.0,
            b.1
        );
    }
    path
}

/// A place on the first curve of an edge for its sign, nearer to its beginning.
fn between(way: &[Point]) -> Point {
    let (a, b) = (way[0], way[1]);
    let reach =
        if (b.0 - a.0).abs() < 1.0 { [bulge(a, b); 2] } else { [(b.0 - a.0) / 2.0, (a.0 - b.0) / 2.0] };
    let t: f64 = 0.32;
    let mix = |p: f64, q: f64, r: f64, s: f64| {
        let u = 1.0 - t;
        u * u * u * p + 3.0 * u * u * t * q + 3.0 * u * t * t * r + t * t * t * s
    };
    (mix(a.0, a.0 + reach[0], b.0 + reach[1], b.0), mix(a.1, a.1, b.1, b.1))
}

fn rect(class: &str, area: Area, round: u8, text: &mut String) {
    let Area { x, y, w, h } = area;
    let _ = writeln!(
        text,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"{round}\"/>"
    );
}

fn label(x: f64, y: f64, class: &str, name: &str, letters: usize) -> String {
    let mut shown: String = name.chars().take(letters).collect();
    if name.chars().count() > letters {
        shown.pop();
        shown.push('…');
    }
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(&shown))
}

/// The groups that have no flow, some on a line.
fn idle(drawing: &Drawing, layout: &Layout) -> Vec<String> {
    let groups = drawing.groups.iter().zip(&layout.groups).filter(|(_, area)| area.is_none());
    let names: Vec<String> =
        groups.map(|(group, _)| format!("{} ({})", group.name, group.workloads)).collect();
    let mut lines: Vec<String> =
        names.chunks(IDLE_A_LINE).take(IDLE_MAX / IDLE_A_LINE).map(|line| line.join("   ")).collect();
    if let Some(first) = lines.first_mut() {
        first.insert_str(0, "without flows: ");
    }
    if names.len() > IDLE_MAX {
        lines.push(format!("and {} more", names.len() - IDLE_MAX));
    }
    lines
}

/// As text of XML 1.0, which cannot hold most control characters at all.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}
