//! "Did you mean": the nearest of a list of words.

/// Words longer than this are not compared.
const WORD_MAX: usize = 64;
/// Candidates looked at: an inventory of a million names must not make every typing error slow.
const CANDIDATES_MAX: usize = 20_000;

/// The candidate that differs from `word` by the fewest insertions, deletions, changes and swaps of neighbours, if
/// it is at most a third of the word.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(WORD_MAX + 1).flat_map(char::to_lowercase).collect();
    if word.is_empty() || word.len() > WORD_MAX {
        return None;
    }
    let mut best: Option<&str> = None;
    let mut limit = (word.len().max(3)) / 3;
    for candidate in candidates.into_iter().take(CANDIDATES_MAX) {
        if candidate.chars().count().abs_diff(word.len()) > limit {
            continue;
        }
        let other: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
        let found = distance(&word, &other);
        // Among equals the first in the alphabet, so that the order of candidates does not show.
        if found < limit || (found == limit && best.is_none_or(|best| candidate < best)) {
            best = Some(candidate);
            limit = found;
        }
    }
    best
}

/// The optimal string alignment distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut cost = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let table = [
            ("adresses", &["labels", "addresses", "macs"][..], Some("addresses")),
            ("lables", &["labels", "addresses"], Some("labels")),
            ("Allow", &["allow", "deny"], Some("allow")),
            ("alow", &["allow", "deny"], Some("allow")),
            ("drop", &["allow", "deny"], None),
            ("", &["allow"], None),
            ("form", &["from", "to"], Some("from")),
            ("web", &["web-2", "wed", "web"], Some("web")),
            ("x", &["y"], Some("y")),
        ];
        for (word, candidates, expected) in table {
            assert_eq!(nearest(word, candidates.iter().copied()), expected, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(1000), ["aaa"]), None);
    }
}
