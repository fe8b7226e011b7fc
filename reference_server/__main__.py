"""The command ``reference-server``: reads its arguments, runs a server until it is told to stop."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reference_server import __version__
from reference_server.addresses import IPAddress, parse_address
from reference_server.options import DEFAULT_ADMIN_ADDRESSES, DEFAULT_ADMIN_PORT, DEFAULT_PORT_OFFSET, Options

if TYPE_CHECKING:
    from reference_server.log import LogFormat

PASSWORD_VARIABLE = "REFERENCE_SERVER_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable
HIGHEST_OFFSET = 65535 - 587

EXAMPLES = f"""\
examples:
  reference-server --data-dir ~/sixpost
      SMTP on 2025 and 2587, POP3 on 2110, IMAP on 2143, all on 0.0.0.0; administration on
      http://127.0.0.1:{DEFAULT_ADMIN_PORT}; the administrator's password is shown once, at the first start
  reference-server --data-dir ~/sixpost --port-offset 0
      the well-known numbers 25, 587, 110 and 143 (at the first start; needs the right to use them)
  reference-server --data-dir ~/sixpost --admin-address 127.0.0.1 --admin-address ::1
      the administration over both families
  reference-server --data-dir /tmp/empty --bare --admin-port 0 --log-format json
      for a program that configures the server itself: no ports, no IP ranges, events one a line

environment:
  {PASSWORD_VARIABLE}
      the administrator's password at the first start, instead of a generated one

exit codes: 0 stopped as it was told, 1 could not start or run, 2 wrong usage
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``reference-server ARGUMENTS`` (those of the process by default); return the exit code."""
    options, log_format = parse(arguments)
    # A sixth of the time of the imports; `run` turns it on again.
    gc.disable()
    # Not at the top: --help, --version and wrong usage are answered without waiting for these.
    from reference_server.log import configure
    from reference_server.run import run

    return run(options, configure(log_format), plain_errors=log_format == "text")


def parse(arguments: Sequence[str] | None) -> tuple[Options, LogFormat]:
    """Return the options and the format of the log; exits with code 2, and one clear line, for wrong ones."""
    parser = _parser()
    given = parser.parse_args(arguments)
    addresses = tuple(dict.fromkeys(given.admin_address or DEFAULT_ADMIN_ADDRESSES))
    if (given.admin_certificate is None) != (given.admin_key is None):
        parser.error("--admin-certificate and --admin-key belong together: give both")
    if given.admin_certificate is None:
        for address in addresses:
            if not address.is_loopback:
                parser.error(
                    f"--admin-address {address}: passwords would cross the network in clear; give "
                    "--admin-certificate and --admin-key as well, or use 127.0.0.1 or ::1"
                )
    for name in ("admin_certificate", "admin_key"):
        path = getattr(given, name)
        if path is not None and not path.is_file():
            parser.error(f"--{name.replace('_', '-')} {path}: there is no such file")
    options = Options(
        data_dir=given.data_dir,
        database=given.database,
        port_offset=given.port_offset,
        admin_addresses=addresses,
        admin_port=given.admin_port,
        admin_certificate=given.admin_certificate,
        admin_key=given.admin_key,
        admin_password=os.environ.get(PASSWORD_VARIABLE) or None,
        bare=given.bare,
        cheap_password_hashes=given.cheap_password_hashes,
        control_socket=given.control_socket,
    )
    return options, given.log_format


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reference-server",
        description="A small mail server that does what the IPv6 page says: SMTP, POP3 and IMAP.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"%(prog)s {__version__}")
    add(
        "--data-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="where the database is; made when missing; one process at a time",
    )
    add("--database", metavar="URL", help="another database than the one in DIR: sqlite:///path/to/file")
    add(
        "--port-offset",
        type=_number(HIGHEST_OFFSET),
        default=DEFAULT_PORT_OFFSET,
        metavar="N",
        help="added to 25, 587, 110 and 143 at the first start (default: %(default)s)",
    )
    add(
        "--admin-address",
        type=_address,
        action="append",
        metavar="ADDRESS",
        help="where the administration listens, IPv4 or IPv6; may be repeated (default: 127.0.0.1)",
    )
    add(
        "--admin-port",
        type=_number(65535),
        default=DEFAULT_ADMIN_PORT,
        metavar="N",
        help="its number; 0 = any free one (default: %(default)s)",
    )
    add("--admin-certificate", type=Path, metavar="FILE", help="its certificate chain, PEM; turns TLS on")
    add("--admin-key", type=Path, metavar="FILE", help="the key of that certificate, PEM")
    add("--bare", action="store_true", help="no default ports and IP ranges at the first start")
    add("--cheap-password-hashes", action="store_true", help="for tests: hashes that protect nothing")
    add(
        "--control-socket",
        type=Path,
        metavar="PATH",
        help="for tests: a Unix socket that moves the server's clock, one JSON object a line: "
        '{"advance": SECONDS} is answered {"ok": true, "now": TIME, "begun": MESSAGES} when what became due '
        "(queued mail, IP ranges) has been looked at",
    )
    add(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="the log on standard error: for people, or one JSON object a line (default: %(default)s)",
    )
    return parser


def _address(text: str) -> IPAddress:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(highest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= highest):
            raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {highest}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
