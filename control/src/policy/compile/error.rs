//! Why a policy was not compiled.

use std::fmt;

use dataplane::policy::TableError;

/// A part of the table whose size is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What the addresses of each network inherit from those around it.
    Networks,
    /// Which address classes each peer list matches.
    Memberships,
    /// Rules entered under pairs of classes.
    Entries,
    /// Service intervals.
    Intervals,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Networks => "networks inside networks",
            Self::Memberships => "memberships of selectors",
            Self::Entries => "entries",
            Self::Intervals => "service intervals",
        }
    }
}

/// Why a policy was not compiled; the table in force stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// A part would need more memory than the limit. Found before it is allocated.
    TooLarge {
        /// Which part.
        part: Part,
        /// What it would need, bytes; at least, since counting stops at the limit for intervals and memberships.
        bytes: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// More rules than a table can number.
    TooManyRules {
        /// How many there are.
        rules: usize,
    },
    /// More tiers with rules that pass than a table can number.
    TooManyStages,
    /// More sets of peer lists than a table can number.
    TooManyClasses,
    /// The parts contradict each other: a fault of the compiler, or a policy that was not validated.
    Table(TableError),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { part, bytes, limit } => write!(
                f,
                "the policy's {} would need {} MiB, more than the limit of {} MiB: raise the limit, or write fewer \
                 rules and networks whose selectors each match many different label sets",
                part.name(),
                bytes.div_ceil(1 << 20),
                limit >> 20
            ),
            Self::TooManyRules { rules } => {
                let most = dataplane::policy::Hit::MAX_RULE.0;
                write!(f, "the policy has {rules} rules; a table can number {most}")
            }
            Self::TooManyStages => f.write_str(
                "more than 255 tiers have a rule that passes: merge tiers, or write what they pass as what it means",
            ),
            Self::TooManyClasses => {
                let most = dataplane::policy::ID_LIMIT;
                write!(f, "the policy tells more than {most} kinds of endpoint apart; a table can number no more")
            }
            Self::Table(error) => write!(f, "the compiled table is not consistent: {error}"),
        }
    }
}

impl std::error::Error for CompileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Table(error) => Some(error),
            Self::TooLarge { .. }
            | Self::TooManyRules { .. }
            | Self::TooManyStages
            | Self::TooManyClasses => None,
        }
    }
}
