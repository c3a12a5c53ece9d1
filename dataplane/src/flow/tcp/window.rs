//! Which sequence and acknowledgement numbers a side may use.
//!
//! The method is van Rooij's ("Real Stateful TCP Packet Filtering in IP Filter", 2000) as Linux conntrack applies
//! it: a box in the middle sees what both ends see, only not at the same time, so every bound is the loosest that
//! either end may hold at this moment.

use crate::headers::{Tcp, flags};
use crate::verdict::DropReason;

/// What is known about the sequence space of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// One past the highest sequence number it sent.
    pub end: u32,
    /// One past the highest sequence number its peer allowed it to send.
    pub max_end: u32,
    /// The largest window it announced, bytes; 0 until it has sent anything.
    pub max_window: u32,
    /// The highest acknowledgement it sent; meaningless unless `acked`.
    pub max_ack: u32,
    /// Whether it has acknowledged anything.
    pub acked: bool,
    /// Window scale it offered (RFC 7323), if any.
    pub offered: Option<u8>,
    /// Window scale in force: 0 unless both sides offered one.
    pub scale: u8,
}

/// The widest delay of an acknowledgement that is still believed, bytes: Linux `MAXACKWINCONST`.
const ACK_DELAY_MIN: u32 = 66_000;
/// The largest window there is (RFC 7323 2.3).
const WINDOW_MAX: u32 = 1 << 30;

/// Whether `a` comes before `b` in sequence space (RFC 9293 3.4).
#[expect(clippy::cast_possible_wrap, reason = "the sign of the difference is the order")]
pub(super) const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The sequence space a segment takes: payload, SYN and FIN.
pub(super) fn segment_end(tcp: &Tcp) -> u32 {
    let syn = u32::from(tcp.flags & flags::SYN != 0);
    let fin = u32::from(tcp.flags & flags::FIN != 0);
    tcp.sequence.wrapping_add(u32::from(tcp.payload)).wrapping_add(syn + fin)
}

impl Peer {
    /// A side as its SYN or SYN-ACK describes it. The window of a SYN is never scaled (RFC 7323 2.2).
    pub(super) fn from_syn(tcp: &Tcp) -> Self {
        let end = segment_end(tcp);
        Self {
            end,
            max_end: end,
            max_window: u32::from(tcp.window).max(1),
            offered: tcp.window_scale,
            scale: tcp.window_scale.unwrap_or(0).min(14),
            ..Self::default()
        }
    }

    /// A side first seen in the middle of a connection.
    pub(super) fn from_middle(tcp: &Tcp, scale: u8) -> Self {
        let end = segment_end(tcp);
        let max_window = (u32::from(tcp.window) << scale).max(1);
        Self { end, max_end: end.wrapping_add(max_window), max_window, scale, ..Self::default() }
    }
}

/// Both sides have to offer scaling for either to use it (RFC 7323 2.2).
fn settle_scale(a: &mut Peer, b: &mut Peer) {
    if a.offered.is_none() || b.offered.is_none() {
        a.scale = 0;
        b.scale = 0;
    }
}

/// How a segment lies in the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Inside: both sides have been updated.
    Inside,
    /// Old data or a late acknowledgement: the receiver drops it and repeats its acknowledgement, so it may pass,
    /// but it teaches nothing.
    Stale,
}

/// Where in the handshake the segment arrives, as far as windows care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handshake {
    /// No SYN-ACK has been seen.
    pub(super) syn_sent: bool,
    /// A SYN-ACK has been seen, but not what completes the handshake.
    pub(super) syn_received: bool,
}

/// Checks one segment against the windows and, if it is inside, advances them.
///
/// # Errors
/// [`DropReason::TcpWindow`]: beyond the receiver's window, or it acknowledges what was never sent. The two sides
/// may be half updated: work on copies.
#[inline(always)]
pub(super) fn advance(
    sender: &mut Peer,
    receiver: &mut Peer,
    tcp: &Tcp,
    handshake: Handshake,
) -> Result<Fit, DropReason> {
    let syn = tcp.flags & flags::SYN != 0;
    let rst = tcp.flags & flags::RST != 0;
    let acks = tcp.flags & flags::ACK != 0;
    let (mut sequence, mut end) = (tcp.sequence, segment_end(tcp));

    let unseen = sender.max_window == 0;
    let restarted = before(sender.end, end) && (handshake.syn_sent || handshake.syn_received);
    if syn && (unseen || restarted) {
        *sender = Peer::from_syn(tcp);
        if receiver.max_window != 0 {
            settle_scale(sender, receiver);
        }
        if unseen && !acks {
            return Ok(Fit::Inside);
        }
    } else if unseen {
        *sender = Peer { offered: sender.offered, ..Peer::from_middle(tcp, sender.scale) };
        if receiver.max_window == 0 {
            receiver.end = tcp.acknowledgement;
            receiver.max_end = tcp.acknowledgement;
        } else if tcp.acknowledgement == receiver.end.wrapping_add(1) {
            receiver.end = tcp.acknowledgement;
        }
    }

    // Some stacks set ACK in a RST and leave the number 0.
    let acknowledgement =
        if !acks || (rst && tcp.acknowledgement == 0) { receiver.end } else { tcp.acknowledgement };
    if sequence == end && (!rst || (sequence == 0 && handshake.syn_sent)) {
        // No data: only the acknowledgement can be wrong. A keep-alive's number is one too low on purpose.
        sequence = sender.end;
        end = sender.end;
    }
    let fit = check(sender, receiver, sequence, end, acknowledgement)?;
    if fit == Fit::Inside {
        let scale = if syn { 0 } else { sender.scale };
        let window = u32::from(tcp.window) << scale;
        update(sender, receiver, end, acks.then_some(acknowledgement), window);
    }
    Ok(fit)
}

#[inline(always)]
fn check(
    sender: &Peer,
    receiver: &Peer,
    sequence: u32,
    end: u32,
    acknowledgement: u32,
) -> Result<Fit, DropReason> {
    let beyond_window = before(sender.max_end, sequence);
    let acks_unsent = before(receiver.end, acknowledgement);
    if beyond_window || acks_unsent {
        return Err(DropReason::TcpWindow);
    }
    let oldest = sender.end.wrapping_sub(receiver.max_window);
    let old_data = receiver.max_window != 0 && before(end, oldest);
    let late = before(acknowledgement, receiver.end.wrapping_sub(sender.max_window.max(ACK_DELAY_MIN)));
    Ok(if old_data || late { Fit::Stale } else { Fit::Inside })
}

#[inline(always)]
fn update(sender: &mut Peer, receiver: &mut Peer, end: u32, acknowledgement: Option<u32>, window: u32) {
    sender.max_window = sender.max_window.max(window);
    if receiver.max_window != 0 && before(sender.max_end, end) {
        let overshoot = end.wrapping_sub(sender.max_end);
        receiver.max_window = receiver.max_window.saturating_add(overshoot).min(WINDOW_MAX);
    }
    if before(sender.end, end) {
        sender.end = end;
    }
    if let Some(ack) = acknowledgement
        && (!sender.acked || before(sender.max_ack, ack))
    {
        sender.max_ack = ack;
        sender.acked = true;
    }
    // One byte may be sent into a closed window to probe it (RFC 9293 3.8.6.1).
    let edge = acknowledgement.unwrap_or(receiver.end).wrapping_add(window.max(1));
    if before(receiver.max_end, edge) {
        receiver.max_end = edge;
    }
}
