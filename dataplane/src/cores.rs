//! The CPUs that workers run on: each thread has one and stays there.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::verdict::WireId;

/// The CPU for worker `number` of a wire or proxy, counted from 0: as configured, else the process's own, one after the
/// other. Without configured ones each wire begins one further, so that wires of one worker do not all share a CPU.
pub(crate) fn choose(configured: &[u32], wire: WireId, number: u32) -> u32 {
    if configured.is_empty() {
        nth(&own(), u32::from(wire.0).wrapping_add(number))
    } else {
        nth(configured, number)
    }
}

/// The CPUs that the calling thread may run on, in ascending order.
fn own() -> Vec<u32> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).zip(0..).filter(|&(cpu, _)| allowed.is_set(cpu)).map(|(_, cpu)| cpu).collect()
}

/// Around and around; 0 if there are none.
fn nth(cores: &[u32], n: u32) -> u32 {
    let at = (n as usize).checked_rem(cores.len()).unwrap_or(0);
    cores.get(at).copied().unwrap_or(0)
}

/// Keeps the calling thread on one CPU.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if the kernel can have no such CPU, or it has none that the process may use.
pub(crate) fn pin(core: u32) -> io::Result<()> {
    let mut only = CpuSet::new();
    if core as usize >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    only.set(core as usize);
    Ok(sched_setaffinity(None, &only)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_configured_cores_in_turn_and_others_the_processs_own() {
        for (cores, n, chosen) in
            [(&[3, 5, 9][..], 0, 3), (&[3, 5, 9], 2, 9), (&[3, 5, 9], 4, 5), (&[7], u32::MAX, 7), (&[], 4, 0)]
        {
            assert_eq!(nth(cores, n), chosen, "{n} of {cores:?}");
        }
        for (wire, number, chosen) in [(0, 0, 3), (4, 0, 3), (4, 1, 5), (0, 3, 5)] {
            assert_eq!(choose(&[3, 5], WireId(wire), number), chosen, "the wire {wire} changes nothing");
        }
        let own = own();
        assert!(own.is_sorted() && !own.is_empty());
        for (wire, number) in [(0, 0), (0, 1), (1, 0), (3, 2), (u16::MAX, u32::MAX)] {
            let at = u32::from(wire).wrapping_add(number) as usize % own.len();
            assert_eq!(choose(&[], WireId(wire), number), own[at], "worker {number} of wire {wire}");
        }
    }

    #[test]
    fn a_thread_is_pinned_to_a_core_that_exists() {
        // A thread of its own, as the test's may serve other tests.
        let pinned = |core| std::thread::spawn(move || pin(core).map(|()| own())).join().unwrap();
        for core in own() {
            assert_eq!(pinned(core).unwrap(), [core]);
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is 1024")]
        for core in [CpuSet::MAX_CPU as u32 - 1, CpuSet::MAX_CPU as u32, u32::MAX] {
            let refused = pinned(core).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{core}");
        }
    }
}
