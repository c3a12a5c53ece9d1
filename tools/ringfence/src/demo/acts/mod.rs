//! The acts of the demo, in order.

pub(crate) mod change;
pub(crate) mod crash;
pub(crate) mod labels;
pub(crate) mod load;
pub(crate) mod proxy;
pub(crate) mod spoof;
