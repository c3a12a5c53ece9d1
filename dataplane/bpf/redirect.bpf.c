// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One port's XDP program: every frame goes to the AF_XDP socket of the queue it arrived on.
 *
 * Where no socket is bound (the process is gone, or not there yet) the frame goes to the device in `peer`. That map
 * is empty on a wire that fails closed, so its frames are dropped; on one that fails open it holds the other port.
 * Either way the frame is counted in `fallback`. Nothing is ever passed to the host's own stack: a wire is not one
 * of its interfaces.
 *
 * No `xdp.frags`: user space refuses a port whose MTU does not fit a chunk, so no frame has fragments, and a driver
 * that would need them fails at attach, not at the first large frame.
 *
 * `cargo run -p xtask -- bpf` builds redirect.bpf.o from this file.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* The most queues of one port; redirect.rs has the same number. */
#define QUEUES 256

enum { DROPPED, FORWARDED, FALLBACKS };

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} peer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FALLBACKS);
	__type(key, __u32);
	__type(value, __u64);
} fallback SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	/* The last argument is the answer when the map has no entry for the key. */
	long action = bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
	if (action == XDP_REDIRECT)
		return action;

	action = bpf_redirect_map(&peer, 0, XDP_DROP);
	__u32 kind = action == XDP_REDIRECT ? FORWARDED : DROPPED;
	__u64 *count = bpf_map_lookup_elem(&fallback, &kind);
	if (count)
		*count += 1; /* per CPU, and a program is not preempted by itself there */
	return action;
}

char licence[] SEC("license") = "Dual MIT/GPL";
