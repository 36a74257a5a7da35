"""Which customer keeps which prepared audio, so that its storage can be bounded.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE call_manager.audio_use (
        customer_id uuid NOT NULL,
        name text NOT NULL REFERENCES call_manager.audio ON DELETE CASCADE,
        size integer NOT NULL,
        used_at timestamptz NOT NULL,
        PRIMARY KEY (customer_id, name)
    )
    """,
    "CREATE INDEX audio_use_by_time ON call_manager.audio_use (customer_id, used_at) INCLUDE (size)",
    "CREATE INDEX audio_use_by_name ON call_manager.audio_use (name)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE call_manager.audio_use")
