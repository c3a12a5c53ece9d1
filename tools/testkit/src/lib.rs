//! Frames for the tests of every crate: readable builders with right lengths and checksums.
