//! Policy in three types, each made only from the last: [`source::PolicySource`] (as written, with spans) →
//! [`valid::ValidPolicy`] (the only constructor that can refuse) → [`dataplane::policy::PolicyTable`].

pub mod valid;
