//! The next table from this one: what changes is copied, the rest is shared.

use super::PolicyTable;
use super::map::Map;
use super::table::{Addresses, Owned, TableChange, TableError, halves, known};
use crate::address::Address;

impl PolicyTable {
    /// This table with `change`; the cost is that of the change, and some microseconds for each 10,000 workloads and
    /// entries. Entries that nothing refers to any more stay: make a new table once many have gathered.
    ///
    /// # Errors
    /// What is wrong with the change.
    pub fn changed(&self, change: TableChange) -> Result<Self, TableError> {
        let mut next = self.clone();
        known("intervals", change.intervals.is_sound(self.rules()))?;
        next.decisions.push(change.intervals);
        let sound = |(_, block): &(_, _)| next.decisions.intervals().has(block, self.rules());
        known("entries", change.entries.iter().all(sound))?;
        next.decisions.add(&change.entries);

        let mut addresses = Addresses::default();
        let mut ears = Vec::with_capacity(change.put.len());
        for (index, parts) in &change.put {
            ears.push(addresses.add(*index, parts)?);
        }
        let bound = change.put.iter().zip(&ears);
        let bound: Vec<_> =
            bound.map(|((index, parts), ears)| (*index, (parts.behind, &*parts.macs, &**ears))).collect();
        let kept = change.workloads as usize;
        next.bindings.change(&bound, kept).ok_or(TableError::Reference("workloads"))?;

        let (mut remove_v4, mut remove_v6) = (Vec::new(), Vec::new());
        for address in &change.remove {
            match address.as_v4() {
                Some(bits) => remove_v4.push(bits),
                None => remove_v6.push(halves(address.bits())),
            }
        }
        exchange(&mut next.v4, &remove_v4, &addresses.v4);
        exchange(&mut next.v6, &remove_v6, &addresses.v6);
        Ok(next)
    }

    /// The workload that owns `address`: its index.
    #[must_use]
    pub fn owner(&self, address: Address) -> Option<u32> {
        self.resolve(address).owner().map(super::Owner::index)
    }
}

fn exchange<K: super::map::Key>(map: &mut Map<K, Owned>, remove: &[K], put: &[(K, Owned)]) {
    if !remove.is_empty() || !put.is_empty() {
        map.change(remove, put);
    }
}
