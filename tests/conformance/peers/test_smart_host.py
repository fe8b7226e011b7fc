"""The recording next hop, spoken to by the standard library's client and by raw sockets."""

from __future__ import annotations

import contextlib
import errno
import smtplib
import socket
import ssl

import pytest

from conformance.peers.behaviour import Behaviour

FROM, TO, OTHER = "a@example.test", "b@example.net", "c@example.net"
TEXT = b"Subject: hello\r\n\r\n.a dot\r\n..two\r\nlast\r\n"


def send(client: smtplib.SMTP, *to: str, text: bytes = TEXT) -> None:
    client.sendmail(FROM, to or (TO,), text)


def connecting(host, at=None) -> int:
    """Return the error of a connection, 0 when it comes about."""
    address = str(at or host.addresses[0])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(60)
        return sock.connect_ex((address, host.port))


@pytest.mark.parametrize("address", ["::1", "127.0.0.1", "127.0.0.9"])
def test_a_message_is_recorded_octet_by_octet(lab, address) -> None:
    host = lab.host(address)
    client = lab.client(host)
    send(client, TO, OTHER)
    client.quit()
    lab.settled()
    (visit,) = lab.recording.visits
    (message,) = visit.messages
    assert (visit.host, visit.number, str(visit.target), visit.ended) == ("relay", 1, address, "quit")
    assert (visit.family, str(visit.source)) == (
        ("ipv6", "::1") if ":" in address else ("ipv4", "127.0.0.1")
    ) or address == "127.0.0.9"
    assert (visit.ehlo, visit.extended, visit.tls, visit.user, visit.reached) == (
        "me.test",
        True,
        "",
        "",
        "end",
    )
    assert (message.mail_from, message.rcpt_to, message.refused) == (FROM, (TO, OTHER), ())
    assert message.parameters == (f"SIZE={len(TEXT)}",)
    assert message.content == TEXT
    assert message.raw == TEXT.replace(b"\r\n.", b"\r\n..")
    assert (message.dot, message.taken, message.told, message.eight_bit) == (True, True, True, False)
    assert visit.source_port > 0


def test_both_families_at_once_and_several_messages(lab) -> None:
    host = lab.host("::1", "127.0.0.1")
    for address in ("::1", "127.0.0.1"):
        client = lab.client(host, at=address)
        send(client)
        send(client)
        client.quit()
    lab.settled(2)
    assert [visit.family for visit in lab.recording.visits] == ["ipv6", "ipv4"]
    assert len(lab.recording.deliveries) == 4


def test_who_waits_is_woken_by_the_message(lab) -> None:
    host = lab.host()
    assert not lab.recording.wait_for(lambda visits: bool(visits), 0.01)
    send(lab.client(host))
    assert lab.recording.wait_for(lambda visits: any(one.messages for one in visits), lab.LIMIT)


def test_nothing_listens_while_it_is_down(lab) -> None:
    host = lab.host(state="down")
    assert connecting(host) == errno.ECONNREFUSED
    host.change(Behaviour())
    assert connecting(host) == 0
    host.change(Behaviour(state="down"))
    assert connecting(host) == errno.ECONNREFUSED


def test_going_down_resets_who_is_there(lab) -> None:
    host = lab.host()
    client = lab.client(host)
    host.change(Behaviour(state="down"))
    lab.settled()
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.ehlo()
    assert lab.recording.visits[0].ended == "down"


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
def test_a_black_hole_answers_no_syn(lab, address) -> None:
    host = lab.host(address, state="black_hole")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.2)  # one retransmission of the SYN is within it
        assert sock.connect_ex((address, host.port)) == errno.EAGAIN
    host.change(Behaviour())
    assert connecting(host) == 0


def test_silence(lab) -> None:
    host = lab.host(state="silent")
    with socket.create_connection(("::1", host.port)) as sock:
        sock.sendall(b"EHLO me\r\n")
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        host.change(Behaviour(state="down"))
        sock.settimeout(lab.LIMIT)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""


def test_a_reset_on_arrival(lab) -> None:
    host = lab.host(state="reset")
    with pytest.raises(ConnectionResetError), socket.create_connection(("::1", host.port), lab.LIMIT) as sock:
        sock.recv(1)
    lab.settled()
    assert lab.recording.visits[0].ended == "cut"


@pytest.mark.parametrize("code", [451, 554])
@pytest.mark.parametrize("stage", ["ehlo", "mail", "rcpt", "data", "end"])
def test_another_answer_at_each_stage(lab, stage, code) -> None:
    host = lab.host(answer={stage: code})
    client = lab.client(host)
    said = [client.ehlo()[0], client.mail(FROM)[0], client.rcpt(TO)[0]]
    if said[-1] == 250:
        code_of_data, _text = client.docmd("DATA")
        said.append(code_of_data)
        if code_of_data == 354:
            client.send(TEXT + b".\r\n")
            said.append(client.getreply()[0])
    stages = ["ehlo", "mail", "rcpt", "data", "end"]
    assert said[stages.index(stage)] == code
    assert [one for one in said[: stages.index(stage)] if one not in (250, 354)] == []
    assert not any(one.message.taken for one in lab.recording.deliveries)


def test_a_refusal_in_place_of_the_greeting(lab) -> None:
    host = lab.host(answer={"connect": "421 4.3.2 not now"})
    with pytest.raises(smtplib.SMTPConnectError) as caught:
        lab.client(host)
    assert caught.value.smtp_code == 421
    lab.settled()
    assert lab.recording.visits[0].ended == "refused"


def test_recipients_are_answered_one_by_one(lab) -> None:
    host = lab.host(recipients={OTHER: "550 5.1.1 nobody"})
    client = lab.client(host)
    assert client.sendmail(FROM, (TO, OTHER), TEXT) == {OTHER: (550, b"5.1.1 nobody")}
    (delivery,) = lab.recording.deliveries
    assert (delivery.message.rcpt_to, delivery.message.refused) == ((TO,), (OTHER,))


def test_what_is_out_of_the_ordinary_holds_so_often(lab) -> None:
    host = lab.host(answer={"mail": "451 4.3.0 later"}, times=2)
    client = lab.client(host)
    client.ehlo()
    assert [client.mail(FROM)[0] for _ in range(3)] == [451, 451, 250]
    assert host.behaviour.answer == {}


CUTS = {
    "connect": ("connect", []),
    "ehlo": ("ehlo", []),
    "mail": ("mail", []),
    "rcpt": ("rcpt", []),
    "data": ("data", []),
    "content": ("data", [(False, False, False)]),
    "dot": ("end", [(True, False, False)]),
    "taken": ("end", [(True, True, False)]),
    "answered": ("end", [(True, True, True)]),
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("at", CUTS)
def test_cut_at_each_point(lab, at, how) -> None:
    host = lab.host(cut={"at": at, "how": how}, times=1)
    with contextlib.suppress(smtplib.SMTPException, OSError):
        send(lab.client(host))
    lab.settled()
    (visit,) = lab.recording.visits
    reached, messages = CUTS[at]
    assert (visit.reached, visit.ended) == (reached, "cut")
    assert [(one.dot, one.taken, one.told) for one in visit.messages] == messages
    send(lab.client(host))
    assert lab.recording.deliveries[-1].message.told


def test_the_client_hears_the_answer_before_the_cut_after_it(lab) -> None:
    host = lab.host(cut={"at": "answered"})
    client = lab.client(host)
    send(client)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()


def test_slow(lab) -> None:
    host = lab.host(slow="20ms")
    client = lab.client(host)
    send(client)
    assert lab.recording.deliveries[0].message.told


def test_what_is_not_offered_is_not_taken(lab) -> None:
    host = lab.host(lacks=["8bitmime", "pipelining", "size"])
    client = lab.client(host)
    client.ehlo()
    assert client.esmtp_features == {}
    assert client.docmd("MAIL", f"FROM:<{FROM}> BODY=8BITMIME")[0] == 555
    assert client.docmd("MAIL", f"FROM:<{FROM}> SIZE=1")[0] == 555
    assert client.docmd("MAIL", f"FROM:<{FROM}> FANCY=1")[0] == 555


def test_an_old_host_knows_helo_alone(lab) -> None:
    host = lab.host(lacks="ehlo")
    client = lab.client(host)
    send(client)
    client.quit()
    lab.settled()
    assert lab.recording.visits[0].extended is False


def test_too_large(lab) -> None:
    host = lab.host(size=10)
    client = lab.client(host)
    with pytest.raises(smtplib.SMTPSenderRefused) as caught:
        send(client)
    assert caught.value.smtp_code == 552
    client.rset()
    client.mail(FROM)
    client.rcpt(TO)
    assert client.data(TEXT)[0] == 552
    assert [one.message.taken for one in lab.recording.deliveries] == [False]


def test_commands_that_do_not_wait_are_seen(lab) -> None:
    for lacks, early in (((), False), (("pipelining",), True)):
        host = lab.host(lacks=lacks)
        with socket.create_connection(("::1", host.port)) as sock, sock.makefile("rb") as lines:
            sock.sendall(b"EHLO me\r\n")
            while not lines.readline().startswith(b"250 "):
                pass
            sock.sendall(b"NOOP\r\nNOOP\r\nQUIT\r\n")
            lines.read()
        lab.settled(len(lab.recording.visits))
        assert lab.recording.visits[-1].early is early


def test_only_crlf_dot_crlf_ends_a_message(lab) -> None:
    """SMTP smuggling ends here: what looks like an end to others is text."""
    host = lab.host()
    odd = b"Subject: x\r\n\r\na\n.\nMAIL FROM:<x>\r\nb\r\n.\nc\r\n\n.\r\nd\r.\re\r\n"
    with socket.create_connection(("::1", host.port)) as sock, sock.makefile("rb") as lines:
        for command in ("HELO me", f"MAIL FROM:<{FROM}>", f"RCPT TO:<{TO}>", "DATA"):
            sock.sendall(f"{command}\r\n".encode())
        sock.sendall(odd + b".\r\nQUIT\r\n")
        assert lines.read().count(b"\r\n") == 7
    assert lab.recording.deliveries[0].message.raw == odd


@pytest.mark.parametrize("text", [b"\r\n", b"x\r\n", b"caf\xc3\xa9\r\n", b"\x00\xff\r\n", b".\r\n"])
def test_every_octet_is_kept(lab, text) -> None:
    host = lab.host()
    client = lab.client(host)
    client.ehlo()
    client.mail(FROM)
    client.rcpt(TO)
    client.data(text)
    assert lab.recording.deliveries[0].message.content == text


# --- TLS and AUTH ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
def test_tls_from_the_first_octet(lab, ca, address) -> None:
    host = lab.host(address, security="tls")
    client = lab.client(host, tls=ca.trusting())
    send(client)
    assert lab.recording.visits[0].tls == "TLSv1.3"
    assert "STARTTLS" not in client.esmtp_features


def test_starttls_is_required(lab, ca) -> None:
    host = lab.host(security="starttls", names=("relay.test",))
    client = lab.client(host)
    with pytest.raises(smtplib.SMTPSenderRefused) as caught:
        send(client)
    assert caught.value.smtp_code == 530
    client.starttls(context=ca.trusting())
    send(client)
    assert lab.recording.visits[0].tls == "TLSv1.3"


def test_starttls_is_offered(lab) -> None:
    host = lab.host(security="starttls_offered")
    client = lab.client(host)
    send(client)
    assert client.has_extn("STARTTLS")
    assert lab.recording.visits[0].tls == ""


@pytest.mark.parametrize(
    "behaviour", [{"untrusted": True}, {"certificate": ["other.test", "2001:db8::1"]}], ids=["who", "where"]
)
def test_a_certificate_that_a_careful_client_refuses(lab, ca, behaviour) -> None:
    host = lab.host(security="tls", **behaviour)
    with pytest.raises(ssl.SSLCertVerificationError):
        lab.client(host, tls=ca.trusting())
    lab.settled()
    assert lab.recording.visits[0].ended in ("tls", "client")


def test_a_certificate_names_the_host(lab, ca) -> None:
    host = lab.host(security="tls", names=("relay.test",))
    with (
        socket.create_connection(("::1", host.port)) as sock,
        ca.trusting().wrap_socket(sock, server_hostname="relay.test") as tls,
    ):
        assert tls.recv(3) == b"220"


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_login_is_required(lab, mechanism) -> None:
    host = lab.host(login={"user": "me", "password": "geheim"})
    client = lab.client(host)
    with pytest.raises(smtplib.SMTPSenderRefused) as caught:
        send(client)
    assert caught.value.smtp_code == 530
    client.esmtp_features["auth"] = mechanism
    with pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("me", "wrong")
    client.login("me", "geheim")
    send(client)
    assert lab.recording.visits[0].user == "me"
    assert not any("geheim" in text for _who, _kind, text in lab.said)
