//! In which of its two sets a flow lands, and whether it finds room there, as a table fills.

use super::*;

/// Flows that the table of this test holds: 32,768 sets of 8.
const CAPACITY: u32 = 1 << 18;

/// The figures in the docstring of `FIRST_SET_FLOWS` are what this prints with `--nocapture`. Keys that follow each
/// other are as good as random ones: their hash is keyed.
#[test]
fn most_flows_land_in_their_first_set() {
    let table = table(CAPACITY as usize);
    let (mut opened, mut evicted) = (0, 0);
    for (tenths, least_first, most_evicted) in
        [(1, 0.99, 0.0), (3, 0.93, 0.0), (5, 0.84, 0.0), (9, 0.74, 0.01)]
    {
        let wanted = CAPACITY * tenths / 10;
        for n in opened..wanted {
            evicted += u32::from(insert(&table, &udp(n), at(1)).unwrap().evicted.is_some());
        }
        opened = wanted;
        let first = (0..opened).filter(|&n| table.seek(table.hash(&udp(n))).is_some()).count();
        let first = first as f64 / f64::from(opened - evicted);
        let lost = f64::from(evicted) / f64::from(opened);
        println!("filled to {tenths} tenths: {first:.3} in their first set, {lost:.4} made room for others");
        assert!(first >= least_first, "filled to {tenths} tenths: {first:.3} are in their first set");
        assert!(lost <= most_evicted, "filled to {tenths} tenths: {lost:.4} made room for others");
    }
}

/// The figure in the docstring of `Set` is what this prints with `--nocapture`: which eighth of the entries flows are in.
#[test]
fn few_flows_lie_in_few_pages() {
    const FLOWS: u32 = 10_000;
    let table = table(CAPACITY as usize);
    let mut in_way = [0; 8];
    for n in 0..FLOWS {
        let (_, way) = insert(&table, &udp(n), at(1)).unwrap().handle.slot();
        in_way[way] += 1;
    }
    in_way.sort_unstable();
    let most = f64::from(in_way[7]) / f64::from(FLOWS);
    println!("{most:.3} in one eighth of the entries: {in_way:?}");
    assert!(most > 0.84, "{in_way:?}");
}
