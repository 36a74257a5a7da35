"""Tables of `call_manager`: prepared audio.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE call_manager.audio (
        name text PRIMARY KEY,
        content bytea NOT NULL,
        created_at timestamptz NOT NULL,
        used_at timestamptz NOT NULL
    )
    """,
    # u-law does not compress: do not try.
    "ALTER TABLE call_manager.audio ALTER COLUMN content SET STORAGE EXTERNAL",
    "CREATE INDEX audio_by_use ON call_manager.audio (used_at)",
    # Calls to numbers that nobody has are removed; the index holds nothing else.
    """
    CREATE INDEX actor_unrouted ON call_manager.actor (created_at)
    WHERE customer_id = '00000000-0000-0000-0000-000000000000' AND NOT live
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP INDEX call_manager.actor_unrouted")
    op.execute("DROP TABLE call_manager.audio")
