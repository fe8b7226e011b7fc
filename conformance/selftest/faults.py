"""The catalogue of faults: what is wrong, which requirements it breaks, and how it shows."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from conformance.errors import UsageError
from conformance.selftest import patches, patches_outgoing


@dataclass(frozen=True, slots=True)
class Fault:
    """One deliberate fault of the reference server."""

    id: str
    sentence: str
    """What the broken server does."""
    breaks: tuple[str, ...]
    """Ids of the requirements that it does not meet, each of which a run must show."""
    seen: str
    """What a client sees of it."""
    apply: Callable[[], None]
    """Builds it into this process, before the server starts."""


FAULTS = (
    Fault(
        id="upper-bound-exclusive",
        sentence="The upper bound of an IP range is outside the range.",
        breaks=("RANGE-3",),
        seen="a client at the upper bound is disconnected",
        apply=patches.upper_bound_exclusive,
    ),
    Fault(
        id="only-upper-64-bits-compared",
        sentence="IPv6 ranges are compared by their upper 64 bits.",
        breaks=("RANGE-12",),
        seen="every client in the /64 of a bound is in the range",
        apply=patches.only_upper_64_bits_compared,
    ),
    Fault(
        id="greeting-before-range-check",
        sentence="The greeting goes out before the IP range is looked at.",
        breaks=("RANGE-5",),
        seen="a client that no range admits reads a greeting, then the close",
        apply=patches.greeting_before_range_check,
    ),
    Fault(
        id="ipv6-wildcard-takes-ipv4",
        sentence="A port on :: answers IPv4 clients as well (IPV6_V6ONLY is 0).",
        breaks=("BIND-5",),
        seen="an IPv4 client gets a connection at a port that has an IPv6 address only",
        apply=patches.ipv6_wildcard_takes_ipv4,
    ),
    Fault(
        id="pop3-not-gated",
        sentence="POP3 serves every client, whatever the IP ranges say.",
        breaks=("RANGE-6",),
        seen="a POP3 client that no range admits is greeted",
        apply=patches.pop3_not_gated,
    ),
    Fault(
        id="lowest-priority-wins",
        sentence="Of several IP ranges that match, the one with the lowest priority decides.",
        breaks=("RANGE-7",),
        seen="a client in two ranges gets what the lesser one says",
        apply=patches.lowest_priority_wins,
    ),
    Fault(
        id="ipv6-listening-by-default",
        sentence="A new installation listens on :: beside 0.0.0.0.",
        breaks=("BIND-1",),
        seen="the shipped configuration has listening IPv6 sockets",
        apply=patches.ipv6_listening_by_default,
    ),
    Fault(
        id="acknowledged-before-stored",
        sentence="A message is answered 250 and stored some time after.",
        breaks=("RELAY-11",),
        seen="a message that was acknowledged is gone after a kill",
        apply=patches.acknowledged_before_stored,
    ),
    Fault(
        id="ranges-cached-until-restart",
        sentence="A change of the IP ranges holds after the next restart or reinitialize only.",
        breaks=("RANGE-10",),
        seen="a client goes on to be treated by ranges that were changed",
        apply=patches.ranges_cached_until_restart,
    ),
    Fault(
        id="gate-blocks-on-one-client",
        sentence="A listener takes the next client only after the last one has said something.",
        breaks=("WIRE-1",),
        seen="behind a client that says nothing, nobody is served",
        apply=patches.gate_blocks_on_one_client,
    ),
    Fault(
        id="bind-address-for-both-families",
        sentence="The source address for outgoing connections is used for targets of the other family, too.",
        breaks=("RELAY-9",),
        seen="with an IPv6 source address nothing gets to an IPv4-only relay",
        apply=patches_outgoing.bind_address_for_both_families,
    ),
    Fault(
        id="ipv6-source-has-no-route",
        sentence="An IPv6 source address for outgoing connections is never usable.",
        breaks=("RELAY-17",),
        seen="with an IPv6 source address nothing gets to an IPv6 relay",
        apply=patches_outgoing.ipv6_source_has_no_route,
    ),
    Fault(
        id="bind-address-ignored",
        sentence="Outgoing connections leave from whatever address the system chooses.",
        breaks=("RELAY-17",),
        seen="the next hop sees another source address than the one that is set",
        apply=patches_outgoing.bind_address_ignored,
    ),
    Fault(
        id="ipv4-always-first",
        sentence="A is tried before AAAA, whatever the setting says.",
        breaks=("RELAY-7",),
        seen="a relay with both families is reached over IPv4 though IPv6 is preferred",
        apply=patches_outgoing.ipv4_always_first,
    ),
    Fault(
        id="only-first-address-tried",
        sentence="Of the addresses of a relay only the first is ever tried.",
        breaks=("RELAY-6",),
        seen="with the first family dead, mail waits though the other would answer",
        apply=patches_outgoing.only_first_address_tried,
    ),
    Fault(
        id="self-check-knows-ipv4-only",
        sentence="Only IPv4 addresses are known as this server's own.",
        breaks=("RELAY-10",),
        seen="mail for an IPv6 relay that is the server itself goes round and round",
        apply=patches_outgoing.self_check_knows_ipv4_only,
    ),
    Fault(
        id="relay-cut-at-last-colon",
        sentence="What follows the last colon of a relay address is taken for a port.",
        breaks=("RELAY-3", "RELAY-8"),
        seen="nothing gets to a relay that is given as an IPv6 address",
        apply=patches_outgoing.relay_cut_at_last_colon,
    ),
    Fault(
        id="cut-after-data-counts-as-delivered",
        sentence="A connection that ends in place of the reply to the message counts as delivered.",
        breaks=("RELAY-11",),
        seen="a message that the relay never took is gone",
        apply=patches_outgoing.cut_after_data_counts_as_delivered,
    ),
    Fault(
        id="address-literal-not-understood",
        sentence="EHLO with an IPv6 address literal is refused as a syntax error.",
        breaks=("RELAY-16",),
        seen="a client that calls itself [IPv6:…] is refused at EHLO",
        apply=patches_outgoing.address_literal_not_understood,
    ),
    Fault(
        id="literal-compared-as-text",
        sentence="An address literal in EHLO has to be written as this server would write it.",
        breaks=("RELAY-16",),
        seen="a client that writes its address in full, or in capitals, is refused",
        apply=patches_outgoing.literal_compared_as_text,
    ),
    Fault(
        id="ipv6-clients-not-relayed",
        sentence="Mail of IPv6 clients for other servers is refused, whatever their range allows.",
        breaks=("RANGE-16",),
        seen="an IPv6 client whose range allows it gets 550",
        apply=patches_outgoing.ipv6_clients_not_relayed,
    ),
)
"""Each turns a run red, with the requirements that it names."""

UNSEEN = (
    Fault(
        id="storage-not-synced",
        sentence="The database is not synced to disk before a message is acknowledged.",
        breaks=(),
        seen="nothing, unless the machine loses power: only the trace of system calls shows it",
        apply=patches.storage_not_synced,
    ),
)
"""Faults that no client can see; other tests catch them."""


def find(name: str) -> Fault:
    """Return the fault called ``name``. Raises UsageError, naming the nearest one."""
    known = {fault.id: fault for fault in (*FAULTS, *UNSEEN)}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    raise UsageError(f"there is no fault {name!r}; {hint}")
