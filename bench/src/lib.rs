//! What ringfence costs: criterion benches per stage in `benches/`, and two comparisons beside peers: wires on real veth
//! cables in the binary `lab`, proxies in the binary `proxy`. `README.md` beside this crate says how to read them.

pub mod estate;
pub mod flows;
pub mod noop;
pub mod path;
pub mod bed;
pub mod measure;
pub mod proxy;

/// Whether the benches only have to show that they run (`cargo bench -p bench -- --test`, in CI): sizes shrink.
#[must_use]
pub fn quick() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// `full`, or in [`quick`] mode its first element only.
#[must_use]
pub fn sizes<T>(full: &[T]) -> &[T] {
    if quick() { &full[..full.len().min(1)] } else { full }
}
