//! Does the compiled table mean what the semantics say? A slow [`oracle`], random [`estate`]s, and the comparison.

pub mod estate;
pub mod everything;
pub mod oracle;
pub mod random;
