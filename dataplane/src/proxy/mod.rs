//! The L4 path: the same policy on TCP connections that are accepted on sockets, where no wire can be put.

pub mod preamble;
