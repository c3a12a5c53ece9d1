//! The daemon's configuration file, `ringfence.yaml`.

/// Where the daemon's socket is unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ringfence/ringfence.sock";
