//! The compiled label-tuple table, how it is read, and how it is published.
