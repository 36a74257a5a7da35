"""Tables of `flow_manager` beside those of its actors.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE flow_manager.flow (
        id uuid PRIMARY KEY,
        customer_id uuid NOT NULL,
        name text NOT NULL,
        detail text NOT NULL,
        -- json, not jsonb: read and written whole, and given back in the order it was written in
        actions json NOT NULL,
        hidden boolean NOT NULL,
        tm_create timestamptz NOT NULL,
        tm_update timestamptz NOT NULL,
        tm_delete timestamptz
    )
    """,
    """
    CREATE INDEX flow_by_customer ON flow_manager.flow
    (customer_id, tm_create DESC, id DESC) WHERE tm_delete IS NULL AND NOT hidden
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE flow_manager.flow")
