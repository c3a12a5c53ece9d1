//! The comparison of proxies: clients and back ends on one CPU, a proxy on the other; on one host with nothing but
//! loopback, or on two with a cable between.
//!
//! ```text
//!   CPU 0   clients 10.1.0.0/16 ─────┐           ┌───► back ends 10.3.0.1..16:9000
//!           denied  10.2.0.0/16 ───┐ │           │
//!   CPU 1                          └─┴─► proxy ──┘  10.8.0.1, a port for each candidate
//! ```

pub mod idle;
pub mod load;
pub mod peer;
pub mod record;
pub mod relay;
pub mod row;
pub mod site;
pub mod trial;
