//! Candidates that forward inside the kernel: a bridge, a router, the same router with nft and conntrack, and an XDP
//! redirect as the ceiling.

use std::io::Write as _;
use std::process::Stdio;

use aya::maps::DevMap;
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, include_bytes_aligned};
use lab::Namespace;

use super::{Bed, BedError, LINKS, MACS, exec, index};

const BRIDGE: &str = "rfbr0";

/// Makes a bridge of the candidate's two links.
///
/// # Errors
/// If `ip` or `bridge` refuses.
pub fn bridge(bed: &Bed) -> Result<(), BedError> {
    let dut = &bed.candidate;
    dut.bridge(BRIDGE)?;
    for (link, behind) in [(LINKS[1], MACS[0]), (LINKS[2], MACS[3])] {
        dut.plug(link, BRIDGE)?;
        // As it would have learnt after the first frame.
        exec(dut, "bridge", &["fdb", "replace", &text(behind), "dev", link, "master", "static"])?;
    }
    Ok(())
}

/// Removes it.
///
/// # Errors
/// If `ip` refuses.
pub fn unbridge(bed: &Bed) -> Result<(), BedError> {
    Ok(bed.candidate.ip(&format!("link delete {BRIDGE}")).map(drop)?)
}

/// Makes the candidate a router between 10.0.0.0/16 and 10.1.0.0/16, neighbours known.
///
/// # Errors
/// If `ip` refuses.
pub fn route(bed: &Bed) -> Result<(), BedError> {
    let dut = &bed.candidate;
    for (net, link, next) in [(0, LINKS[1], MACS[0]), (1, LINKS[2], MACS[3])] {
        dut.address(link, &format!("10.255.{net}.1/24"))?;
        dut.ip(&format!("neighbour replace 10.255.{net}.2 lladdr {} dev {link} nud permanent", text(next)))?;
        dut.ip(&format!("route add 10.{net}.0.0/16 via 10.255.{net}.2 dev {link}"))?;
    }
    Ok(dut.set("net/ipv4/ip_forward", "1")?)
}

/// Makes it a host again.
///
/// # Errors
/// If `ip` refuses.
pub fn unroute(bed: &Bed) -> Result<(), BedError> {
    let dut = &bed.candidate;
    dut.set("net/ipv4/ip_forward", "0")?;
    for link in [LINKS[1], LINKS[2]] {
        dut.ip(&format!("address flush dev {link}"))?;
        dut.ip(&format!("neighbour flush nud permanent dev {link}"))?;
    }
    Ok(())
}

/// Loads an nft rule set.
///
/// # Errors
/// If `nft` is missing or refuses; the error holds its first lines.
pub fn nft(namespace: &Namespace, rules: &str) -> Result<(), BedError> {
    let mut child = namespace
        .command("nft".as_ref())
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("nft has no input")?.write_all(rules.as_bytes())?;
    let ran = child.wait_with_output()?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(format!("nft: {}", said.lines().take(4).collect::<Vec<_>>().join("; ")).into())
}

/// The XDP redirect between both links; unloaded when dropped.
#[expect(missing_debug_implementations, reason = "a loaded program has nothing to show")]
pub struct Redirect {
    _programs: [Ebpf; 2],
}

static OBJECT: &[u8] = include_bytes_aligned!("../../bpf/lab.bpf.o");

/// Attaches the redirect in both directions. The far ends get GRO, and with it the NAPI context that a frame
/// redirected to them needs.
///
/// # Errors
/// If the kernel refuses a program or `ethtool` is missing.
pub fn redirect(bed: &Bed) -> Result<Redirect, BedError> {
    gro_at_the_ends(bed, "on")?;
    let [d0, d1] = [LINKS[1], LINKS[2]];
    let attach = |from: &str, to: &str| -> Result<Ebpf, BedError> {
        let mut programs = Ebpf::load(OBJECT)?;
        let to = index(&bed.candidate, to)?;
        let mut peer =
            DevMap::try_from(programs.map_mut("peer").ok_or("the BPF object lacks the map peer")?)?;
        bed.candidate.run(|| peer.set(0, to, None, 0))??;
        let forward: &mut Xdp =
            programs.program_mut("forward").ok_or("the BPF object lacks the program forward")?.try_into()?;
        forward.load()?;
        bed.candidate.run(|| forward.attach(from, XdpMode::Driver))??;
        Ok(programs)
    };
    Ok(Redirect { _programs: [attach(d0, d1)?, attach(d1, d0)?] })
}

/// Takes the far ends' GRO away again.
///
/// # Errors
/// If `ethtool` is missing.
pub fn unredirect(bed: &Bed) -> Result<(), BedError> {
    gro_at_the_ends(bed, "off")
}

fn gro_at_the_ends(bed: &Bed, state: &str) -> Result<(), BedError> {
    exec(&bed.generator, "ethtool", &["-K", LINKS[0], "gro", state])?;
    exec(&bed.sink, "ethtool", &["-K", LINKS[3], "gro", state])
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
