"""What each kind of step does, as it is written: the value of its one action key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from conformance.scenario.outgoing import Delivery, Relay
from conformance.scenario.server import IpRange, Limits, Port
from conformance.scenario.values import Duration, Model, one_or_many


class Connect(Model):
    """One TCP connection (or ``times``), without a word from the client."""

    to: str = Field(description="Name of a port")
    at: str | None = Field(default=None, description="Another address of the host, with that port's number")
    from_: str | None = Field(
        default=None,
        alias="from",
        description="Source address; left out: the loopback address of the target's family",
    )
    host: str | None = Field(
        default=None, description="One of 'hosts', where the client is; left out: the server's own host"
    )
    as_: str | None = Field(default=None, alias="as", description="Keep the session open under this name")
    times: int = Field(
        default=1, ge=1, le=10_000, description="One after the other; each must meet the expectation"
    )
    eventually: bool = Field(default=False, description="Try again until it holds (a slot that becomes free)")


class Talk(Model):
    session: str
    say: str = Field(description="One line; CRLF is added", examples=["NOOP", "a NOOP"])


class Disconnect(Model):
    session: str
    how: Literal["quit", "close", "reset"] = "close"


class Login(Model):
    to: str
    from_: str | None = Field(default=None, alias="from")
    user: str
    password: str


class Credentials(Model):
    user: str
    password: str


class Send(Model):
    """One message by SMTP."""

    to: str
    from_: str | None = Field(default=None, alias="from")
    mail_from: str = Field(description="Envelope sender; '' is the null sender")
    rcpt_to: Annotated[tuple[str, ...], BeforeValidator(one_or_many)]
    login: Credentials | None = None
    helo: str | None = Field(
        default=None, description="EHLO argument; left out: the address literal of the source"
    )
    body: str = "A test message of the conformance suite.\n"
    long_line: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="One more line of so many octets, CRLF not counted, at the end",
    )
    line_ends: Literal["crlf", "as_written"] = Field(
        default="crlf", description="as_written: bare CR and LF go out as they are"
    )
    until: Literal["rcpt", "content", "dot", "data"] = Field(
        default="data",
        description="'rcpt': only ask whether the recipients are taken, and send no message; 'content': "
        "leave in its midst; 'dot': leave right after the final dot, without the reply",
    )
    times: int = Field(default=1, ge=1, le=10_000, description="So many messages, one after the other")
    as_: str | None = Field(default=None, alias="as", description="What 'relayed' calls the message")


class Fetch(Model):
    """Log in by POP3 or IMAP (the port's protocol) and look."""

    eventually: bool = Field(
        default=False, description="Look again until it holds (a report that is on its way)"
    )

    to: str
    from_: str | None = Field(default=None, alias="from")
    user: str
    password: str


class Admin(Model):
    """What an administrator does in the server's own administration: one of add, change, delete, read."""

    add: Literal["ip_range", "port", "settings"] | None = None
    change: Literal["ip_range", "port", "settings"] | None = None
    delete: Literal["ip_range", "port"] | None = None
    read: Literal["ip_range", "port", "settings"] | None = None
    name: str = Field(default="", description="Of the range or port to change, delete or read")
    values: dict[str, str | int | bool] = Field(
        default_factory=dict, description="Field names of the HTTP contract"
    )
    over: Literal["ipv4", "ipv6"] = "ipv4"
    password: Literal["right", "wrong", "none"] = "right"  # noqa: S105 - it says which


class Change(Model):
    """A change of the running server's configuration. Ranges hold at once, ports at the next restart."""

    add_ports: tuple[Port, ...] = ()
    delete_ports: tuple[str, ...] = ()
    add_ip_ranges: tuple[IpRange, ...] = ()
    replace_ip_ranges: tuple[IpRange, ...] = Field(default=(), description="By name")
    delete_ip_ranges: tuple[str, ...] = ()
    limits: Limits | None = None
    relay: Relay | None = None
    no_relay: bool = Field(default=False, description="Take the relay away: mail goes by MX")
    delivery: Delivery | None = None


class Listening(Model):
    port: str


class Descriptors(Model):
    """Exactly one of both: take a mark, or compare with it."""

    mark: str | None = None
    since: str | None = None


class Empty(Model):
    pass


class Os(Model):
    """What happens to the operating system of the server's host, while the server runs."""

    ipv6: Literal["enabled", "disabled"] | None = None
    bindv6only: bool | None = None
    add_address: str | None = Field(
        default=None, description="With its prefix length", examples=["2001:db8:1::2/64"]
    )
    remove_address: str | None = None
    link: str | None = Field(default=None, description="Of add_address and remove_address; left out: lo")


class Sweep(Model):
    """One connection from each of many addresses: both bounds of every IP range, one below, one above."""

    to: str = Field(description="Name of a port")
    at: str | None = Field(default=None, description="Another address of the host, with that port's number")
    ranges: tuple[str, ...] | None = Field(default=None, description="Left out: every IP range")
    sources: tuple[str, ...] = Field(default=(), description="More addresses")
    random: int = Field(
        default=0,
        ge=0,
        le=20_000,
        description="So many more, from all over the family",
    )


class PacketOut(Model):
    """What the crafted client sends: a TCP segment (``flags``) or an ICMP error (``icmp``).

    A segment with ``checksum: wrong`` or a ``sequence_offset`` is one that the server must not take: the
    numbers of what follows are as if it had not been sent.
    """

    flags: Literal["SYN", "ACK", "DATA", "FIN", "RST"] | None = Field(
        default=None, description="All but SYN and RST have the ACK bit, too"
    )
    text: str = Field(default="", description="What a DATA segment carries", examples=["EHLO [IPv6:::1]\r\n"])
    segments: int = Field(
        default=0, ge=0, le=1460, description="DATA in segments of so many octets; 0: in one"
    )
    order: Literal["in_order", "reversed"] = Field(default="in_order", description="Of the segments")
    copies: int = Field(default=1, ge=1, le=100, description="Each packet is sent so often")
    overlap: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Each segment begins so many octets early, with octets sent before",
    )
    mss: int | None = Field(default=None, ge=0, le=65535, description="Option of a SYN; left out: none")
    window: int | None = Field(
        default=None, ge=0, le=65535, description="From here on; left out: as before, 65535 at first"
    )
    hop_by_hop: bool = Field(default=False, description="IPv6 extension header before TCP (RFC 8200 4.3)")
    destination_options: bool = Field(default=False, description="IPv6 extension header (RFC 8200 4.6)")
    fragment: int = Field(
        default=0,
        ge=0,
        le=1280,
        description="In fragments of so many octets (a multiple of 8) after the IP header; 0: none",
    )
    flow_label: int = Field(default=0, ge=0, le=0xFFFFF)
    checksum: Literal["right", "wrong"] = "right"
    sequence_offset: int = Field(default=0, ge=-(2**31), le=2**31, description="Added to the right number")
    icmp: Literal["too_big", "unreachable"] | None = Field(
        default=None, description="About the server's last segment (ICMPv6 types 2 and 1; ICMP type 3)"
    )
    mtu: int = Field(default=1280, ge=68, le=65535, description="Of icmp: too_big")


class PacketIn(Model):
    """What must come from the server next: exactly one of ``flags``, ``text``, ``nothing``, ``closed``.

    Acknowledgements alone are passed over. Octets and FIN that come are acknowledged; a SYN-ACK is not: that
    is a turn of its own, ``send: {flags: ACK}``.
    """

    flags: Literal["SYN-ACK", "ACK", "FIN", "RST"] | None = Field(
        default=None, description="ACK: all that was sent is acknowledged; whatever else comes with it waits"
    )
    text: str = Field(
        default="", description="How the server's next reply begins; all of it is taken", examples=["220"]
    )
    nothing: Duration | None = Field(default=None, description="Nothing but acknowledgements for so long")
    closed: bool = Field(default=False, description="FIN or RST, before any octet")
    within: Duration = Field(default=10.0, description="Later is a failure")
    acknowledge: bool = Field(default=True, description="false: the server hears of nothing that it sent")


class Exchange(Model):
    """One turn of an exchange: exactly one of both."""

    send: PacketOut | None = None
    await_: PacketIn | None = Field(default=None, alias="await")


class Packets(Model):
    """Crafted packets from any address; exactly one of ``exchange``, ``half_open`` and ``handshakes``."""

    to: str = Field(description="Name of a port")
    from_: str = Field(
        alias="from",
        description="Address of an exchange; prefix of many clients",
        examples=["2001:db8:f::/64"],
    )
    exchange: tuple[Exchange, ...] = ()
    half_open: int = Field(default=0, ge=0, le=100_000, description="SYNs that are never acknowledged")
    handshakes: int = Field(
        default=0,
        ge=0,
        le=20_000,
        description="Connections that are kept, and say nothing, until the case ends",
    )
