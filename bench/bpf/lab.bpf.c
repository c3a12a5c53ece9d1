// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Both ends of the lab comparison: a generator, two sinks, and the in-kernel forwarder that serves as ceiling.
 *
 * `traffic` is run by BPF_PROG_RUN with BPF_F_TEST_XDP_LIVE_FRAMES: each run writes one whole header over a recycled
 * page and sends the frame out of a device, as cheap as the kernel can. It keeps a window: never more than
 * `settings.window` frames are between it and the sink, so no ring on the way (the shortest, veth's, has 256 slots)
 * can overflow, and what the sink counts is a rate without loss. `sent`, `delivered` and `lost` live in one map, all
 * written on one CPU.
 *
 * The sinks are direct-action classifiers: they see the frame as the stack would, count it and drop it.
 *
 * `cargo run -p xtask -- bpf` builds lab.bpf.o from this file.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Hosts on each side; flow i is host i % HOSTS to host i / HOSTS % HOSTS. traffic.rs has the same number. */
#define HOSTS 200
#define FIRST_PORT 1024
#define NEAR_NET 0x0a000001 /* 10.0.0.1, the first source */
#define FAR_NET 0x0a010001 /* 10.1.0.1, the first destination */

/* Indices of `counts`; traffic.rs has the same. */
enum { SENT, HELD_BACK, DELIVERED, RETURNED, FOREIGN, LOST, COUNTS };

struct settings {
	__u32 ifindex; /* the device to send out of */
	__u32 flows;
	__u32 stride; /* flow n+1 is flow n plus this, modulo flows */
	__u32 window; /* frames under way; 0: no limit */
	__u32 protocol;
	__u32 port; /* the service, on the far side */
	__u32 tcp_flags;
	__u32 sequence;
	__u32 acknowledgement;
	__u32 reply; /* from the far side to the near one */
	__u32 limit; /* frames in all; 0: no limit */
	__u8 destination_mac[6];
	__u8 source_mac[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next_flow SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} peer SEC(".maps");

static __always_inline __u64 *count_of(__u32 which)
{
	return bpf_map_lookup_elem(&counts, &which);
}

static __always_inline void add_one(__u32 which)
{
	__u64 *count = count_of(which);
	if (count)
		*count += 1;
}

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static __always_inline __u32 halves(__u32 word)
{
	return (word >> 16) + (word & 0xffff);
}

/* Whether the window, or the number asked for, leaves no room for another frame. */
static __always_inline int held_back(const struct settings *s, __u64 sent)
{
	__u64 *delivered = count_of(s->reply ? RETURNED : DELIVERED);
	__u64 *lost = count_of(LOST);
	if (!delivered || !lost)
		return 1;
	__s64 under_way = (__s64)(sent - *delivered - *lost);
	return (s->limit && sent >= s->limit) || (s->window && under_way >= (__s64)s->window);
}

/* `pseudo` is the sum of the pseudo-header (RFC 9293 3.1). */
static __always_inline void write_tcp(struct tcphdr *tcp, const struct settings *s, __u16 from, __u16 to, __u32 pseudo)
{
	__u16 offset_flags = 0x5000 | (s->tcp_flags & 0x3f);
	__u16 window = 0xffff;
	__u32 sum = pseudo + from + to + halves(s->sequence) + halves(s->acknowledgement) + offset_flags + window;
	tcp->source = bpf_htons(from);
	tcp->dest = bpf_htons(to);
	tcp->seq = bpf_htonl(s->sequence);
	tcp->ack_seq = bpf_htonl(s->acknowledgement);
	*((__u16 *)tcp + 6) = bpf_htons(offset_flags);
	tcp->window = bpf_htons(window);
	tcp->check = bpf_htons(folded(sum)); /* the payload is zeros */
	tcp->urg_ptr = 0;
}

SEC("xdp")
int traffic(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 zero = 0;
	const struct settings *s = bpf_map_lookup_elem(&settings, &zero);
	__u32 *next = bpf_map_lookup_elem(&next_flow, &zero);
	__u64 *sent = count_of(SENT);

	if (!s || !next || !sent || (void *)(tcp + 1) > end)
		return XDP_ABORTED;
	if (held_back(s, *sent)) {
		add_one(HELD_BACK);
		return XDP_DROP;
	}

	__u32 flow = *next;
	*next = flow + s->stride >= s->flows ? flow + s->stride - s->flows : flow + s->stride;
	__u32 rest = flow / HOSTS;
	__u32 near = NEAR_NET + flow % HOSTS, far = FAR_NET + rest % HOSTS;
	__u16 near_port = FIRST_PORT + rest / HOSTS, far_port = s->port;
	__u32 source = s->reply ? far : near, destination = s->reply ? near : far;
	__u16 from = s->reply ? far_port : near_port, to = s->reply ? near_port : far_port;
	__u16 len = (long)end - (long)ip;
	int is_tcp = s->protocol == IPPROTO_TCP;
	if (is_tcp && len < 60)
		len = 40; /* a bare acknowledgement: what follows it is Ethernet padding */

	__builtin_memcpy(ethernet->h_dest, s->destination_mac, 6);
	__builtin_memcpy(ethernet->h_source, s->source_mac, 6);
	ethernet->h_proto = bpf_htons(ETH_P_IP);

	__u32 addresses = halves(source) + halves(destination);
	*(__u16 *)ip = bpf_htons(0x4500);
	ip->tot_len = bpf_htons(len);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = 64;
	ip->protocol = s->protocol;
	ip->check = bpf_htons(folded(0x4500 + len + 0x4000 + (64 << 8) + s->protocol + addresses));
	ip->saddr = bpf_htonl(source);
	ip->daddr = bpf_htonl(destination);

	if (is_tcp) {
		write_tcp(tcp, s, from, to, addresses + s->protocol + len - 20);
	} else {
		udp->source = bpf_htons(from);
		udp->dest = bpf_htons(to);
		udp->len = bpf_htons(len - 20);
		udp->check = 0; /* none: RFC 768 */
	}
	*sent += 1;
	return bpf_redirect(s->ifindex, 0);
}

/* Counts one of our frames as `which`, anything else as FOREIGN, and drops it. */
static __always_inline int take(struct __sk_buff *skb, __u32 which)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->id != 0 ||
	    (bpf_ntohl(ip->saddr) >> 17) != (NEAR_NET >> 17)) {
		add_one(FOREIGN);
		return TC_ACT_SHOT;
	}
	add_one(which);
	return TC_ACT_SHOT;
}

SEC("classifier")
int far_sink(struct __sk_buff *skb)
{
	return take(skb, DELIVERED);
}

SEC("classifier")
int near_sink(struct __sk_buff *skb)
{
	return take(skb, RETURNED);
}

/* The ceiling: every frame to the other device, without leaving the kernel. */
SEC("xdp")
int forward(struct xdp_md *ctx)
{
	return bpf_redirect_map(&peer, 0, XDP_DROP);
}

char licence[] SEC("license") = "Dual MIT/GPL";
