//! Sets of services: sorted, disjoint ranges.

use dataplane::headers::protocol::{TCP, UDP};

use crate::policy::valid::ServiceRange;

/// What `a` and `b` have in common, in order.
pub(super) fn common<'a>(
    a: &'a [ServiceRange],
    b: &'a [ServiceRange],
) -> impl Iterator<Item = ServiceRange> + 'a {
    let (mut a, mut b) = (a, b);
    std::iter::from_fn(move || {
        while let ([left, after_left @ ..], [right, after_right @ ..]) = (a, b) {
            let shared = ServiceRange { first: left.first.max(right.first), last: left.last.min(right.last) };
            if left.last < right.last {
                a = after_left;
            } else {
                b = after_right;
            }
            if shared.first <= shared.last {
                return Some(shared);
            }
        }
        None
    })
}

/// Whether `a` and `b` have a service in common.
pub(super) fn meet(a: &[ServiceRange], b: &[ServiceRange]) -> bool {
    common(a, b).next().is_some()
}

/// Whether `outer` holds all of `inner`.
pub(super) fn holds(outer: &[ServiceRange], inner: &[ServiceRange]) -> bool {
    without(inner, outer).is_empty()
}

/// What is in `a` and not in `b`.
pub(super) fn without(a: &[ServiceRange], b: &[ServiceRange]) -> Vec<ServiceRange> {
    let mut left = Vec::with_capacity(a.len());
    let mut cuts = b;
    for range in a {
        while let [cut, after @ ..] = cuts
            && cut.last < range.first
        {
            cuts = after;
        }
        let mut first = range.first;
        for cut in cuts.iter().take_while(|cut| cut.first <= range.last) {
            if first < cut.first {
                left.push(ServiceRange { first, last: cut.first - 1 });
            }
            first = first.max(cut.last + 1);
        }
        if first <= range.last {
            left.push(ServiceRange { first, last: range.last });
        }
    }
    left
}

/// All of both.
pub(super) fn union(a: &[ServiceRange], b: &[ServiceRange]) -> Vec<ServiceRange> {
    let mut all: Vec<ServiceRange> = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    all.dedup_by(|next, kept| {
        let merge = next.first <= kept.last + 1;
        if merge {
            kept.last = kept.last.max(next.last);
        }
        merge
    });
    all
}

/// A service of `range` that people know: a TCP or UDP port if there is one.
pub(super) fn example(range: ServiceRange) -> u32 {
    let of = |protocol: u8| {
        let base = u32::from(protocol) << 16;
        let (first, last) = (range.first.max(base | 1), range.last.min(base | 0xffff));
        // The port of web servers, if any will do.
        (first <= last).then(|| (base | 443).clamp(first, last))
    };
    of(TCP).or_else(|| of(UDP)).unwrap_or(range.first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{common, example, holds, meet, union, without};
    use crate::policy::valid::ServiceRange;

    fn ranges(points: &[bool]) -> Vec<ServiceRange> {
        let single = |at| ServiceRange { first: at, last: at };
        let points = (0..).zip(points).filter(|(_, on)| **on).map(|(at, _)| single(at));
        union(&points.collect::<Vec<_>>(), &[])
    }

    fn points(ranges: &[ServiceRange]) -> Vec<bool> {
        (0..40).map(|at| ranges.iter().any(|range| range.first <= at && at <= range.last)).collect()
    }

    proptest! {
        #[test]
        fn sets_of_ranges_behave_as_sets_of_points(
            a in proptest::collection::vec(any::<bool>(), 40),
            b in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let (left, right) = (ranges(&a), ranges(&b));
            let pairwise = |op: fn(bool, bool) -> bool| -> Vec<bool> {
                a.iter().zip(&b).map(|(a, b)| op(*a, *b)).collect()
            };
            let shared: Vec<_> = common(&left, &right).collect();
            prop_assert_eq!(points(&shared), pairwise(|a, b| a && b));
            prop_assert_eq!(points(&without(&left, &right)), pairwise(|a, b| a && !b));
            prop_assert_eq!(points(&union(&left, &right)), pairwise(|a, b| a || b));
            prop_assert_eq!(meet(&left, &right), a.iter().zip(&b).any(|(a, b)| *a && *b));
            prop_assert_eq!(holds(&left, &right), a.iter().zip(&b).all(|(a, b)| *a || !*b));
        }
    }

    #[test]
    fn an_example_is_a_service_that_people_know() {
        for (name, first, last, expected) in [
            ("anything", 0, 0xff_ffff, 6 << 16 | 443),
            ("high ports", 6 << 16 | 8000, 6 << 16 | 9000, 6 << 16 | 8000),
            ("low ports", 6 << 16, 6 << 16 | 80, 6 << 16 | 80),
            ("udp", 17 << 16 | 53, 17 << 16 | 53, 17 << 16 | 53),
            ("gre", 47 << 16, 47 << 16 | 0xffff, 47 << 16),
            ("nothing but port 0", 6 << 16, 6 << 16, 6 << 16),
        ] {
            assert_eq!(example(ServiceRange { first, last }), expected, "{name}");
        }
    }
}
