//! Many short lists of numbers in one array, and numbers for distinct lists.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

use super::vocabulary::number;

/// Lists of numbers, one after the other.
#[derive(Debug, Default)]
pub(in crate::policy) struct Lists {
    flat: Vec<u32>,
    ends: Vec<usize>,
}

impl Lists {
    pub(super) fn push(&mut self, list: &[u32]) {
        self.flat.extend_from_slice(list);
        self.ends.push(self.flat.len());
    }

    pub(in crate::policy) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(in crate::policy) fn get(&self, at: u32) -> &[u32] {
        let at = at as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.flat[start..self.ends[at]]
    }

    pub(in crate::policy) fn iter(&self) -> impl Iterator<Item = &[u32]> + Clone {
        (0..number(self.len())).map(|at| self.get(at))
    }

    /// The size of all lists together, bytes.
    pub(super) fn bytes(&self) -> u64 {
        size_of_val(self.flat.as_slice()) as u64
    }

    /// For each number below `columns`, the wanted lists that hold it, ascending.
    pub(super) fn transpose(&self, columns: usize, wanted: impl Fn(u32) -> bool) -> Self {
        let rows = || (0..number(self.len())).filter(|row| wanted(*row));
        let mut next = vec![0_usize; columns + 1];
        for row in rows() {
            self.get(row).iter().for_each(|column| next[*column as usize + 1] += 1);
        }
        for column in 0..columns {
            next[column + 1] += next[column];
        }
        let ends = next[1..].to_vec();
        let mut flat = vec![0; next[columns]];
        for row in rows() {
            for &column in self.get(row) {
                let place = &mut next[column as usize];
                flat[*place] = row;
                *place += 1;
            }
        }
        Self { flat, ends }
    }
}

/// Gives each distinct list a number, in the order they are met.
#[derive(Default)]
pub(super) struct Interner {
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    pub(super) lists: Lists,
}

impl Interner {
    /// The number of `list`, and whether it was not met before.
    pub(super) fn intern(&mut self, list: &[u32]) -> (u32, bool) {
        let hash = self.hasher.hash_one(list);
        if let Some(&known) = self.index.find(hash, |at| self.lists.get(*at) == list) {
            return (known, false);
        }
        let made = number(self.lists.len());
        self.lists.push(list);
        let (hasher, lists) = (&self.hasher, &self.lists);
        self.index.insert_unique(hash, made, |at| hasher.hash_one(lists.get(*at)));
        (made, true)
    }
}

#[cfg(test)]
mod tests {
    use super::{Interner, Lists};

    #[test]
    fn transposing_turns_rows_into_columns() {
        let mut lists = Lists::default();
        [&[0, 2][..], &[], &[2, 3], &[0]].into_iter().for_each(|list| lists.push(list));
        let columns: Vec<Vec<u32>> = lists.transpose(5, |_| true).iter().map(<[u32]>::to_vec).collect();
        assert_eq!(columns, [vec![0, 3], vec![], vec![0, 2], vec![2], vec![]]);
        let without_first = lists.transpose(5, |row| row != 0);
        assert_eq!((without_first.get(0), without_first.get(2)), (&[3][..], &[2][..]));
        assert_eq!(Lists::default().transpose(0, |_| true).len(), 0);
    }

    #[test]
    fn equal_lists_get_one_number() {
        let mut interner = Interner::default();
        let lists: Vec<Vec<u32>> = (0..1000).map(|n| vec![n % 7, n % 3]).collect();
        let numbers: Vec<u32> = lists.iter().map(|list| interner.intern(list).0).collect();
        assert_eq!(interner.lists.len(), 21);
        for (list, number) in lists.iter().zip(numbers) {
            assert_eq!(interner.lists.get(number), list);
            assert_eq!(interner.intern(list), (number, false));
        }
    }
}
