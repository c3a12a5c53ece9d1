//! The networks as disjoint ranges: each with the labels and names its addresses inherit.

use std::net::IpAddr;

use super::Limits;
use super::error::{CompileError, Part};
use super::vocabulary::{Token, Vocabulary, number};
use crate::policy::valid::{Network, Prefix};

/// What an address inherits from the networks around it.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// Per mentioned key, the tokens of the narrowest network that has it. Sorted by key.
    pub(super) keys: Vec<(u32, Vec<Token>)>,
    /// The tokens of the containing networks that the policy names.
    pub(super) networks: Vec<Token>,
    /// Whether a network with labels contains it.
    pub(super) known: bool,
}

/// The context of addresses that no network contains.
pub(super) const OUTSIDE: u32 = 0;

/// Both families, cut at every edge of every prefix.
pub(super) struct Space {
    /// [`OUTSIDE`] first.
    pub(super) contexts: Vec<Context>,
    /// First address and context; ascending from 0.
    pub(super) v4: Vec<(u128, u32)>,
    /// Likewise.
    pub(super) v6: Vec<(u128, u32)>,
}

/// What one network adds.
struct Own {
    labels: Vec<(u32, Vec<Token>)>,
    name: Option<Token>,
    /// It has labels, mentioned or not.
    known: bool,
}

impl Space {
    /// # Errors
    /// The contexts, of which each holds all that is in the outer ones, would need more than a sixteenth of the limit:
    /// profiles repeat them.
    pub(super) fn new(
        networks: &[Network],
        vocabulary: &Vocabulary,
        limits: Limits,
    ) -> Result<Self, CompileError> {
        let own = |network: &Network| Own {
            labels: network.labels.iter().filter_map(|(key, values)| vocabulary.label(key, values)).collect(),
            name: vocabulary.network(&network.name),
            known: !network.labels.is_empty(),
        };
        let own: Vec<Own> = networks.iter().map(own).collect();
        let limit = limits.bytes / 16;
        let mut cutter = Cutter { own, contexts: vec![Context::default()], bare: None, bytes: 0, limit };
        let v4 = cutter.cut(spans(networks, 32), u128::from(u32::MAX))?;
        let v6 = cutter.cut(spans(networks, 128), u128::MAX)?;
        Ok(Self { contexts: cutter.contexts, v4, v6 })
    }

    /// The context of an address.
    pub(super) fn of(&self, address: IpAddr) -> u32 {
        let (bits, ranges) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), &self.v4),
            IpAddr::V6(v6) => (v6.to_bits(), &self.v6),
        };
        let after = ranges.partition_point(|(first, _)| *first <= bits);
        ranges.get(after.wrapping_sub(1)).map_or(OUTSIDE, |(_, context)| *context)
    }
}

/// One prefix of a network, as first and last address.
struct Span {
    first: u128,
    last: u128,
    network: usize,
}

/// The prefixes of one family, outer before inner, equal ones together.
fn spans(networks: &[Network], width: u32) -> Vec<Span> {
    let span = |prefix: &Prefix, network| {
        let (first, family) = match prefix.address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let whole = if width == 32 { u128::from(u32::MAX) } else { u128::MAX };
        let last = first | whole.checked_shr(u32::from(prefix.len)).unwrap_or(0);
        (family == width).then_some(Span { first, last, network })
    };
    let mut spans: Vec<Span> = networks
        .iter()
        .enumerate()
        .flat_map(|(at, network)| network.prefixes.iter().filter_map(move |prefix| span(prefix, at)))
        .collect();
    spans.sort_unstable_by_key(|span| (span.first, std::cmp::Reverse(span.last), span.network));
    spans
}

struct Cutter {
    own: Vec<Own>,
    contexts: Vec<Context>,
    /// The context of addresses that are in a network with labels of which the policy mentions none.
    bare: Option<u32>,
    /// The size of all contexts together, and its limit.
    bytes: u64,
    limit: u64,
}

impl Context {
    fn bytes(&self) -> u64 {
        let keys =
            self.keys.iter().map(|(_, tokens)| size_of::<(u32, Vec<Token>)>() + size_of_val(&**tokens));
        (keys.sum::<usize>() + size_of_val(&*self.networks)) as u64
    }
}

impl Cutter {
    /// Walks the prefixes, which are nested or disjoint, with a stack of those that are open.
    fn cut(&mut self, spans: Vec<Span>, max: u128) -> Result<Vec<(u128, u32)>, CompileError> {
        let mut ranges = vec![(0, OUTSIDE)];
        let mut open = vec![(max, OUTSIDE)];
        let mut rest = spans.as_slice();
        while let Some(span) = rest.first() {
            let same = rest.iter().take_while(|s| (s.first, s.last) == (span.first, span.last)).count();
            let (group, after) = rest.split_at(same);
            close(&mut ranges, &mut open, Some(span.first), max);
            let outer = open.last().map_or(OUTSIDE, |(_, context)| *context);
            let context = self.inner(outer, group)?;
            begin(&mut ranges, span.first, context);
            open.push((span.last, context));
            rest = after;
        }
        close(&mut ranges, &mut open, None, max);
        Ok(ranges)
    }

    /// The context inside the networks of `group`, all with the same prefix, which lies in `outer`.
    fn inner(&mut self, outer: u32, group: &[Span]) -> Result<u32, CompileError> {
        let mut named: Vec<Token> = group.iter().filter_map(|span| self.own[span.network].name).collect();
        let mut keys: Vec<(u32, Vec<Token>)> =
            group.iter().flat_map(|span| self.own[span.network].labels.iter().cloned()).collect();
        let known = group.iter().any(|span| self.own[span.network].known);
        let silent = named.is_empty() && keys.is_empty();
        if silent && (!known || self.contexts[outer as usize].known) {
            return Ok(outer);
        }
        let bare = silent && outer == OUTSIDE;
        if let (true, Some(bare)) = (bare, self.bare) {
            return Ok(bare);
        }
        let mut context = self.contexts[outer as usize].clone();
        self.bytes += context.bytes();
        if self.bytes > self.limit {
            return Err(CompileError::TooLarge {
                part: Part::Networks,
                bytes: self.bytes,
                limit: self.limit,
            });
        }
        context.known |= known;
        context.networks.append(&mut named);
        context.networks.sort_unstable();
        context.networks.dedup();
        keys.sort_by_key(|(key, _)| *key);
        context.keys.retain(|(key, _)| keys.binary_search_by_key(key, |(own, _)| *own).is_err());
        keys.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1.append(&mut later.1);
            }
            same
        });
        context.keys.append(&mut keys);
        context.keys.sort_by_key(|(key, _)| *key);
        self.contexts.push(context);
        let made = number(self.contexts.len() - 1);
        if bare {
            self.bare = Some(made);
        }
        Ok(made)
    }
}

/// Closes the open prefixes that end before `next`, or all of them.
fn close(ranges: &mut Vec<(u128, u32)>, open: &mut Vec<(u128, u32)>, next: Option<u128>, max: u128) {
    while let [.., (_, outer), (last, _)] = open.as_slice() {
        let (outer, last) = (*outer, *last);
        if next.is_some_and(|next| next <= last) {
            return;
        }
        open.pop();
        if last < max {
            begin(ranges, last + 1, outer);
        }
    }
}

/// Begins a range; one that begins at the same address is replaced.
fn begin(ranges: &mut Vec<(u128, u32)>, first: u128, context: u32) {
    match ranges.last_mut() {
        Some(last) if last.0 == first => last.1 = context,
        Some(last) if last.1 == context => {}
        _ => ranges.push((first, context)),
    }
}
