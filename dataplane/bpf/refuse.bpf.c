// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Refuses connections of clients that policy denies before there is a connection.
 *
 * It runs when the kernel looks for the listener of a segment that belongs to no connection. If the proxy has found,
 * under the policy in force, that this client may not reach this address and port, no listener is found, and the
 * kernel answers with a reset, as for a closed port. The proxy reads of each in `refused` and accounts for it as for
 * one that it has accepted. Without room to say so, nothing is refused here: the proxy will do it.
 *
 * `denied` holds answers of the policy in force and of older ones, which are never asked for again; the least
 * recently used make room. While `epoch` is 0 nothing is refused.
 *
 * `cargo run -p xtask -- bpf` builds refuse.bpf.o from this file.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define TCP 6
#define INET 2
#define INET6 10

/* Answers that are remembered. */
#define ANSWERS 16384
/* Bytes of refusals that the proxy may be behind: some 18,000. */
#define ROOM (1 << 20)

/* Words, because the loader takes arrays of them: addresses in the order of the wire, the rest in the host's. */
struct client {
	__u32 source[4];
	__u32 destination[4];
	__u32 family;
	__u32 port;
	__u32 epoch;
};

struct refusal {
	struct client client;
	__u32 source_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} epoch SEC(".maps");

/* The value is the source port of the connection that the answer was found for: segments of it that arrive after it
 * was closed are no connection. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ANSWERS);
	__type(key, struct client);
	__type(value, __u32);
} denied SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, ROOM);
} refused SEC(".maps");

SEC("sk_lookup")
int refuse(struct bpf_sk_lookup *ctx)
{
	__u32 zero = 0;
	__u32 *now = bpf_map_lookup_elem(&epoch, &zero);
	if (!now || !*now || ctx->protocol != TCP)
		return SK_PASS;

	struct client client = { .family = ctx->family, .port = ctx->local_port, .epoch = *now };
	if (ctx->family == INET) {
		client.source[0] = ctx->remote_ip4;
		client.destination[0] = ctx->local_ip4;
	} else if (ctx->family == INET6) {
		client.source[0] = ctx->remote_ip6[0];
		client.source[1] = ctx->remote_ip6[1];
		client.source[2] = ctx->remote_ip6[2];
		client.source[3] = ctx->remote_ip6[3];
		client.destination[0] = ctx->local_ip6[0];
		client.destination[1] = ctx->local_ip6[1];
		client.destination[2] = ctx->local_ip6[2];
		client.destination[3] = ctx->local_ip6[3];
	} else {
		return SK_PASS;
	}

	__u32 source_port = __builtin_bswap16(ctx->remote_port);
	__u32 *first = bpf_map_lookup_elem(&denied, &client);
	if (!first || *first == source_port)
		return SK_PASS;

	struct refusal *refusal = bpf_ringbuf_reserve(&refused, sizeof(*refusal), 0);
	if (!refusal)
		return SK_PASS;
	refusal->client = client;
	refusal->source_port = source_port;
	/* The proxy looks often enough; waking it for each would cost more than all the rest. */
	bpf_ringbuf_submit(refusal, BPF_RB_NO_WAKEUP);
	return SK_DROP;
}

char licence[] SEC("license") = "Dual MIT/GPL";
