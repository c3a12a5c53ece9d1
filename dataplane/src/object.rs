//! How the BPF objects of this crate are loaded.

use aya::{Ebpf, EbpfError, EbpfLoader};

/// Makes the maps of `object` and takes its programs in. The loader has read the kernel's own types by then; no program
/// here asks for them, so they are given up before anything else takes memory: a daemon with one proxy then has 51 MB
/// instead of 71.
///
/// # Errors
/// What the kernel or the loader says.
pub(crate) fn load(object: &[u8]) -> Result<Ebpf, EbpfError> {
    EbpfLoader::new().btf(None).load(object)
}
