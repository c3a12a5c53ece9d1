//! Network laboratories out of namespaces: hosts, veth cables and bridges that exist for the length of a test, a
//! bench or a demo.
//!
//! Needs root and `ip` from iproute2; [`missing`] says in one line what is not there. A [`Namespace`] removes
//! itself when dropped; [`remove_leftovers`] removes what a killed process could not. Names of namespaces share
//! `/run/netns` with everybody else on the machine, so each user of this crate takes a prefix of its own and,
//! if two of it could meet, a [`LabLock`].
//!
//! ```no_run
//! use lab::{End, Namespace, veth};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let left = Namespace::create("example-left")?;
//! let right = Namespace::create("example-right")?;
//! veth(&End::new(&left, "eth0"), &End::new(&right, "eth0"))?;
//! left.address("eth0", "10.9.0.1/24")?;
//! right.address("eth0", "10.9.0.2/24")?;
//! let listener = right.run(|| std::net::TcpListener::bind("10.9.0.2:80"))??;
//! let stream = left.run(|| std::net::TcpStream::connect("10.9.0.2:80"))??;
//! # drop((listener, stream));
//! # Ok(())
//! # }
//! ```

mod error;
mod ip;
mod leftovers;
mod link;
mod lock;
mod namespace;

pub use error::LabError;
pub use ip::{missing, skip_unprivileged};
pub use leftovers::{names_with_prefix, remove_leftovers};
pub use link::{End, veth};
pub use lock::LabLock;
pub use namespace::Namespace;
