"""What the command line says of a server: one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from reference_server.addresses import IPAddress

DEFAULT_PORT_OFFSET = 2000
DEFAULT_ADMIN_PORT = 8443
DEFAULT_ADMIN_ADDRESSES: tuple[IPAddress, ...] = (IPv4Address("127.0.0.1"),)
DATABASE_FILE = "reference-server.sqlite3"


@dataclass(frozen=True, slots=True)
class Options:
    """See ``reference-server --help``. Ports are 0 (any) to 65535."""

    data_dir: Path
    database: str | None = None
    port_offset: int = DEFAULT_PORT_OFFSET
    admin_addresses: tuple[IPAddress, ...] = DEFAULT_ADMIN_ADDRESSES
    admin_port: int = DEFAULT_ADMIN_PORT
    admin_certificate: Path | None = None
    admin_key: Path | None = None
    admin_password: str | None = field(default=None, repr=False)
    """The administrator's first password; None: one is generated."""
    bare: bool = False
    cheap_password_hashes: bool = False
    control_socket: Path | None = None
    """See `listening.control_socket`."""

    @property
    def database_url(self) -> str:
        """The URL of the database: a file in the data directory unless another one was named."""
        return self.database or f"sqlite:///{self.data_dir.absolute() / DATABASE_FILE}"
