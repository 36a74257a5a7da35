"""Applies the migrations: `python -m evercall.store.migrate`.

Reads the database's address as the services do, from `EVERCALL_DATABASE_URL` and, where there is one,
`EVERCALL_DATABASE_PASSWORD_FILE`: here it is that of the role that owns the schemas. Safe to run at any time
and by several at once: an advisory lock lets one work while the others wait.
"""

import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from evercall.store.address import Address


def alembic_config(address: Address) -> Config:
    """Alembic's settings for our one linear history."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["address"] = address
    return config


def main() -> None:
    """Upgrades to the newest revision."""
    url = os.environ.get("EVERCALL_DATABASE_URL")
    if not url:
        sys.stderr.write("migrate: EVERCALL_DATABASE_URL is not set\n")
        raise SystemExit(2)
    try:
        address = Address(url, os.environ.get("EVERCALL_DATABASE_PASSWORD_FILE", ""))
    except ValueError as error:
        sys.stderr.write(f"migrate: EVERCALL_DATABASE_URL: {error}\n")
        raise SystemExit(2) from None
    command.upgrade(alembic_config(address), "head")


if __name__ == "__main__":
    main()
