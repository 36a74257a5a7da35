"""Tables of `route_manager`.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE SCHEMA route_manager",
    """
    CREATE TABLE route_manager.number (
        id uuid PRIMARY KEY,
        customer_id uuid NOT NULL,
        number text NOT NULL CHECK (number ~ '^\\+[0-9]{7,15}$'),
        name text NOT NULL,
        detail text NOT NULL,
        call_flow_id uuid,
        tm_create timestamptz NOT NULL,
        tm_update timestamptz NOT NULL,
        tm_delete timestamptz
    )
    """,
    # A number that was given up may be taken by anybody, so only live rows are unique.
    """
    CREATE UNIQUE INDEX number_live_number ON route_manager.number (number)
    WHERE tm_delete IS NULL
    """,
    """
    CREATE INDEX number_by_customer ON route_manager.number
    (customer_id, tm_create DESC, id DESC) WHERE tm_delete IS NULL
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP SCHEMA route_manager CASCADE")
