"""Applies the migrations: `python -m evercall.store.migrate`.

Reads the database's address from `EVERCALL_DATABASE_URL`. Safe to run at any time and by several at once:
an advisory lock lets one work while the others wait.
"""

import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config


def alembic_config(database_url: str) -> Config:
    """Alembic's settings for our one linear history."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    url = database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    config.attributes["url"] = url
    return config


def main() -> None:
    """Upgrades to the newest revision."""
    url = os.environ.get("EVERCALL_DATABASE_URL")
    if not url:
        sys.stderr.write("migrate: EVERCALL_DATABASE_URL is not set\n")
        raise SystemExit(2)
    command.upgrade(alembic_config(url), "head")


if __name__ == "__main__":
    main()
