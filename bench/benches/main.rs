//! Criterion benches, one module per stage of the packet path and of the way a policy takes to it.
//!
//! `cargo bench -p bench -- decide` runs one of them; the names are those of [`STAGES`].

mod compile;
mod decide;
mod lookup;
mod parse;
mod path;
mod proxy;

use criterion::Criterion;

/// Name and bench of a stage.
type Stage = (&'static str, fn(&mut Criterion));

/// Every stage. A stage that is not wanted must not even be set up: that alone can take a minute.
const STAGES: &[Stage] = &[
    ("parse", parse::bench),
    ("lookup", lookup::bench),
    ("decide", decide::bench),
    ("path", path::bench),
    ("proxy", proxy::bench),
    ("compile", compile::bench),
    ("change", compile::bench_change),
    ("load", compile::bench_load),
];

fn main() {
    let asked = |name: &str| std::env::args().skip(1).any(|argument| argument.starts_with(name));
    let any = STAGES.iter().any(|(name, _)| asked(name));
    let mut criterion = Criterion::default().configure_from_args();
    for (_, bench) in STAGES.iter().filter(|(name, _)| !any || asked(name)) {
        bench(&mut criterion);
    }
    criterion.final_summary();
}
