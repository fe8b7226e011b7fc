"""The conversation of IMAP4rev1: states, login, and what is said when."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable
from typing import ClassVar, NoReturn

from reference_server import limits
from reference_server.protocols.conversation import Ending, IdleTooLong, LineTooLong, ShuttingDown
from reference_server.protocols.imap.folders import Folders
from reference_server.protocols.imap.reader import CommandReading
from reference_server.protocols.imap.selected import GONE, Selected
from reference_server.protocols.imap.syntax import (
    Arguments,
    Bad,
    No,
)
from reference_server.session import Services, Session

_COMMAND = re.compile(rb"([^\x00-\x20\x7f-\xff(){%*\"\\+]+) ([A-Za-z]+)(?: (.*))?", re.DOTALL)
_KEEPS_NUMBERS = {"FETCH", "STORE", "SEARCH"}  # RFC 3501 section 7.4.1: no EXPUNGE during these


class ImapSession(CommandReading):
    """One IMAP client."""

    def __init__(self, client: Session, services: Services) -> None:
        super().__init__(client, services)
        self._folders: Folders | None = None
        self._selected: Selected | None = None
        self._failed_logins = 0

    # --- the conversation -----------------------------------------------------------------------------

    async def converse(self) -> NoReturn:
        """Greet, then answer one command after the other."""
        settings = self.services.settings()
        text = settings.welcome_imap.partition("\n")[0].strip() or f"{settings.host_name} IMAP server ready"
        await self.line(f"* OK [CAPABILITY {' '.join(self._capabilities())}] {text}")
        try:
            while True:
                await self._command()
        finally:
            self._unselect()

    def farewell(self, reason: Exception) -> bytes:
        """Say BYE (RFC 3501 section 7.1.5)."""
        if isinstance(reason, ShuttingDown):
            return b"* BYE the server stops\r\n"
        if isinstance(reason, IdleTooLong):
            return b"* BYE autologout: idle for too long\r\n"
        return b"* BYE internal error\r\n"

    async def _command(self) -> None:
        """Read and answer one command."""
        text = b""
        try:
            text, literals = await self.read_command(logged_in=self._folders is not None)
            found = _COMMAND.fullmatch(text)
            if found is None:
                await self.error(text, "BAD a command is a tag, a name, and its arguments")
                return
            await self._answer(
                found[1].decode("ascii"),
                found[2].decode("ascii").upper(),
                Arguments(found[3] or b"", literals),
            )
        except LineTooLong:
            await self.error(b"", "BAD the line is too long")
        except (Bad, No) as refusal:
            await self.error(text, f"{'BAD' if isinstance(refusal, Bad) else 'NO'} {refusal}")

    async def _answer(self, tag: str, name: str, arguments: Arguments) -> None:
        uid = name == "UID"
        if uid:
            name = arguments.atom().upper()
            arguments.space()
            if name not in {"FETCH", "STORE", "SEARCH", "COPY"}:
                raise Bad(f"no command UID {name}")
        command = self._commands().get(name)
        if command is None:
            known = any(
                name in table for table in (self._ANY, self._LOGIN, self._AUTHENTICATED, self._SELECTED)
            )
            raise Bad("not in this state" if known else "unknown command")
        await self._tell_news(expunges=False)
        try:
            text = await command(self, arguments, uid)
        except No as refusal:
            await self._tell_news(expunges=uid or name not in _KEEPS_NUMBERS)
            await self.line(f"{tag} NO {refusal}")
            return
        except LookupError:
            await self.line(f"{tag} NO {GONE}")
            return
        await self._tell_news(expunges=uid or name not in _KEEPS_NUMBERS)
        await self.line(f"{tag} OK {text or name + ' completed'}")
        if name == "LOGOUT":
            raise Ending("logout")
        if name == "STARTTLS":
            assert self.client.starttls is not None
            await self.start_tls(self.client.starttls)

    async def _tell_news(self, *, expunges: bool) -> None:
        if self._selected is not None:
            await self.send(await self._selected.news(expunges=expunges))

    # --- any state ------------------------------------------------------------------------------------

    def _capabilities(self) -> list[str]:
        names = ["IMAP4rev1", "LITERAL+"]
        if self._folders is None:
            if self.tls_offered:
                names.append("STARTTLS")
            names += ["SASL-IR", "AUTH=PLAIN"] if self.login_allowed else ["LOGINDISABLED"]
        return [*names, "IDLE", "NAMESPACE", "UNSELECT", "CHILDREN"]

    async def _capability(self, arguments: Arguments, _uid: bool) -> str:
        arguments.end()
        await self.line(f"* CAPABILITY {' '.join(self._capabilities())}")
        return ""

    async def _noop(self, arguments: Arguments, _uid: bool) -> str:
        arguments.end()
        return ""

    async def _logout(self, arguments: Arguments, _uid: bool) -> str:
        arguments.end()
        self._unselect()
        await self.line("* BYE see you")
        return ""

    # --- not authenticated ----------------------------------------------------------------------------

    async def _starttls(self, arguments: Arguments, _uid: bool) -> str:
        arguments.end()
        if self.tls:
            raise Bad("TLS is active already")
        if self.client.starttls is None:
            raise Bad("STARTTLS is not offered on this port")
        return "begin the TLS negotiation"

    async def _login(self, arguments: Arguments, _uid: bool) -> str:
        self._check_login_allowed()
        name = arguments.astring()
        arguments.space()
        password = arguments.astring()
        arguments.end()
        return await self._authenticate(name, password)

    async def _authenticate_sasl(self, arguments: Arguments, _uid: bool) -> str:
        mechanism = arguments.atom().upper()
        if mechanism != "PLAIN":
            raise No("[CANNOT] only PLAIN is offered")
        self._check_login_allowed()
        if arguments.take(b" "):
            response = arguments.astring()
            arguments.end()
        else:
            await self.line("+ ")
            response = (await self.read_line(limits.IMAP_COMMAND, limits.IMAP_LOGIN_TIMEOUT)).strip()
        if response == b"*":
            raise Bad("cancelled")
        try:
            parts = b64decode(response, validate=True).split(b"\0")
        except Base64Error:
            raise Bad("not Base64") from None
        if len(parts) != 3:
            raise Bad("not a response of PLAIN (RFC 4616)")
        return await self._authenticate(parts[1], parts[2])

    def _check_login_allowed(self) -> None:
        if not self.login_allowed:
            raise No("[PRIVACYREQUIRED] TLS is required before a login")  # RFC 5530

    async def _authenticate(self, name: bytes, password: bytes) -> str:
        try:
            account = await self.services.accounts.authenticate(name.decode(), password.decode())
        except UnicodeDecodeError:
            account = None
        if account is None:
            self._failed_logins += 1
            if self._failed_logins >= limits.LOGIN_ATTEMPTS:
                await self.line("* BYE too many failed logins")
                raise Ending("too many failed logins")
            raise No("[AUTHENTICATIONFAILED] wrong name or password")
        self._folders = Folders(self.services.mail, account.id, self.services.now)
        return f"[CAPABILITY {' '.join(self._capabilities())}] logged in"

    # --- authenticated --------------------------------------------------------------------------------

    @property
    def _own(self) -> Folders:
        assert self._folders is not None
        return self._folders

    def _unselect(self) -> None:
        if self._selected is not None:
            self._selected.close()
            self._selected = None

    async def _select(self, arguments: Arguments, _uid: bool) -> str:
        return await self._open(arguments, read_only=False)

    async def _examine(self, arguments: Arguments, _uid: bool) -> str:
        return await self._open(arguments, read_only=True)

    async def _open(self, arguments: Arguments, *, read_only: bool) -> str:
        name = arguments.astring()
        arguments.end()
        self._unselect()
        mailbox = await self._own.find(name)
        selected = Selected(self.services.mail, mailbox, read_only=read_only, changed=self.wake)
        self._selected = selected
        exists = await selected.news(expunges=False)
        # UIDNEXT is of a moment before the messages were read: never above the truth.
        flags = " ".join(selected.flags)
        lines = [f"* FLAGS ({flags})"]
        lines += ["* 0 EXISTS", "* 0 RECENT"] if not exists else []
        unseen = (n for n, m in enumerate(selected.messages, 1) if "\\Seen" not in m.flags)
        if first := next(unseen, None):
            lines.append(f"* OK [UNSEEN {first}] first unseen message")
        uid_next = max(mailbox.uid_next, selected.messages[-1].uid + 1 if selected.messages else 1)
        lines += [
            f"* OK [UIDVALIDITY {mailbox.uid_validity}] UIDs valid",
            f"* OK [UIDNEXT {uid_next}] predicted next UID",
            f"* OK [PERMANENTFLAGS ({'' if read_only else flags + ' ' + chr(92) + '*'})] kept flags",
        ]
        await self.send(exists, "".join(f"{line}\r\n" for line in lines).encode("ascii"))
        return f"[READ-{'ONLY' if read_only else 'WRITE'}] {'EXAMINE' if read_only else 'SELECT'} completed"

    async def _create(self, arguments: Arguments, _uid: bool) -> str:
        await self._own.create(arguments)
        return ""

    async def _delete(self, arguments: Arguments, _uid: bool) -> str:
        gone = await self._own.delete(arguments)
        if self._selected is not None and self._selected.mailbox.id == gone:
            self._unselect()
        return ""

    async def _rename(self, arguments: Arguments, _uid: bool) -> str:
        await self._own.rename(arguments)
        return ""

    async def _subscribe(self, arguments: Arguments, _uid: bool) -> str:
        await self._own.subscribe(arguments, subscribed=True)
        return ""

    async def _unsubscribe(self, arguments: Arguments, _uid: bool) -> str:
        await self._own.subscribe(arguments, subscribed=False)
        return ""

    async def _list(self, arguments: Arguments, _uid: bool) -> str:
        await self.send(await self._own.listing(arguments, subscribed_only=False))
        return ""

    async def _lsub(self, arguments: Arguments, _uid: bool) -> str:
        await self.send(await self._own.listing(arguments, subscribed_only=True))
        return ""

    async def _status(self, arguments: Arguments, _uid: bool) -> str:
        await self.send(await self._own.status(arguments))
        return ""

    async def _append(self, arguments: Arguments, _uid: bool) -> str:
        await self._own.append(arguments)
        return ""

    async def _namespace(self, arguments: Arguments, _uid: bool) -> str:
        arguments.end()
        await self.line('* NAMESPACE (("" "/")) NIL NIL')
        return ""

    async def _idle(self, arguments: Arguments, _uid: bool) -> str:
        """Tell what happens until the client says DONE (RFC 2177)."""
        arguments.end()
        await self.line("+ idling")
        while True:
            line = await self.read_line(limits.IMAP_COMMAND, limits.IMAP_IDLE_TIMEOUT, until=self._has_news)
            if not line:
                await self._tell_news(expunges=True)
            elif line.strip().upper() == b"DONE":
                return ""
            else:
                raise Bad("expected DONE")

    def _has_news(self) -> bool:
        return self._selected is not None and self._selected.stale

    # --- selected -------------------------------------------------------------------------------------

    @property
    def _mailbox(self) -> Selected:
        assert self._selected is not None
        return self._selected

    async def _fetch(self, arguments: Arguments, uid: bool) -> str:
        async for response in self._mailbox.fetch(arguments, uid=uid):
            await self.send(response)
        return ""

    async def _store(self, arguments: Arguments, uid: bool) -> str:
        await self.send(await self._mailbox.store(arguments, uid=uid))
        return ""

    async def _search(self, arguments: Arguments, uid: bool) -> str:
        await self.send(await self._mailbox.search(arguments, uid=uid))
        return ""

    async def _copy(self, arguments: Arguments, uid: bool) -> str:
        ids, name = self._mailbox.copy_source(arguments, uid=uid)
        target = await self._own.find(name, "[TRYCREATE]")
        if ids:
            await self.services.mail.copy(self._mailbox.mailbox.id, ids, target.id)
        return ""

    async def _expunge(self, arguments: Arguments, _uid: bool) -> str:
        arguments.end()
        await self._mailbox.expunge()
        return ""

    async def _close_mailbox(self, arguments: Arguments, _uid: bool) -> str:
        arguments.end()
        if not self._mailbox.read_only:
            await self._mailbox.expunge()
        self._unselect()
        return ""

    async def _unselect_mailbox(self, arguments: Arguments, _uid: bool) -> str:
        arguments.end()
        self._unselect()
        return ""

    def _commands(self) -> dict[str, _Command]:
        commands = dict(self._ANY)
        commands.update(self._LOGIN if self._folders is None else self._AUTHENTICATED)
        if self._selected is not None:
            commands.update(self._SELECTED)
        return commands

    _ANY: ClassVar[dict[str, _Command]] = {"CAPABILITY": _capability, "NOOP": _noop, "LOGOUT": _logout}
    _LOGIN: ClassVar[dict[str, _Command]] = {
        "STARTTLS": _starttls,
        "LOGIN": _login,
        "AUTHENTICATE": _authenticate_sasl,
    }
    _AUTHENTICATED: ClassVar[dict[str, _Command]] = {
        "SELECT": _select,
        "EXAMINE": _examine,
        "CREATE": _create,
        "DELETE": _delete,
        "RENAME": _rename,
        "SUBSCRIBE": _subscribe,
        "UNSUBSCRIBE": _unsubscribe,
        "LIST": _list,
        "LSUB": _lsub,
        "STATUS": _status,
        "APPEND": _append,
        "NAMESPACE": _namespace,
        "IDLE": _idle,
    }
    _SELECTED: ClassVar[dict[str, _Command]] = {
        "CHECK": _noop,
        "CLOSE": _close_mailbox,
        "UNSELECT": _unselect_mailbox,
        "EXPUNGE": _expunge,
        "FETCH": _fetch,
        "STORE": _store,
        "SEARCH": _search,
        "COPY": _copy,
    }


_Command = Callable[[ImapSession, Arguments, bool], Awaitable[str]]
