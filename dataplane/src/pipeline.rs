//! The whole path of a batch, from parsed frames to dispositions, as a function over memory.
