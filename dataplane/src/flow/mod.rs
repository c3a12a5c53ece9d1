//! Flows: key, entry, table, TCP state, fragments, expiry.
