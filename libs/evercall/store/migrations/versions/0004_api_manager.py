"""Tables of `api_manager`, and the customer that the platform itself is.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE SCHEMA api_manager",
    """
    CREATE TABLE api_manager.customer (
        id uuid PRIMARY KEY,
        name text NOT NULL,
        detail text NOT NULL,
        email text NOT NULL,
        phone_number text NOT NULL,
        address text NOT NULL,
        status text NOT NULL CHECK (status IN ('active', 'frozen')),
        tm_create timestamptz NOT NULL,
        tm_update timestamptz NOT NULL,
        tm_delete timestamptz
    )
    """,
    """
    CREATE INDEX customer_list ON api_manager.customer (tm_create DESC, id DESC)
    WHERE tm_delete IS NULL
    """,
    """
    INSERT INTO api_manager.customer
    VALUES ('00000000-0000-0000-0000-000000000001', 'platform', 'The platform itself', '', '', '',
            'active', now(), now(), NULL)
    """,
    """
    CREATE TABLE api_manager.accesskey (
        id uuid PRIMARY KEY,
        customer_id uuid NOT NULL REFERENCES api_manager.customer,
        name text NOT NULL,
        detail text NOT NULL,
        token_hash bytea NOT NULL UNIQUE,
        token_prefix text NOT NULL,
        tm_expire timestamptz,
        tm_last_use timestamptz,
        tm_create timestamptz NOT NULL,
        tm_update timestamptz NOT NULL,
        tm_delete timestamptz
    )
    """,
    """
    CREATE INDEX accesskey_by_customer ON api_manager.accesskey
    (customer_id, tm_create DESC, id DESC) WHERE tm_delete IS NULL
    """,
    """
    CREATE TABLE api_manager.idempotency (
        customer_id uuid NOT NULL,
        key text NOT NULL,
        fingerprint bytea NOT NULL,
        base_id uuid NOT NULL,
        status integer,
        body bytea,
        tm_lock timestamptz NOT NULL,
        tm_expire timestamptz NOT NULL,
        PRIMARY KEY (customer_id, key)
    )
    """,
    "CREATE INDEX idempotency_expiry ON api_manager.idempotency (tm_expire)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP SCHEMA api_manager CASCADE")
