"""Access keys have scopes; those that there are keep what they could do. And the audit log.

Revision ID: 0009
Revises: 0005
"""

from alembic import op

revision = "0009"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE api_manager.accesskey ADD COLUMN scopes text[]",
    "UPDATE api_manager.accesskey SET scopes = '{read,calls,media,admin}'",
    """
    ALTER TABLE api_manager.accesskey
        ALTER COLUMN scopes SET NOT NULL,
        ADD CONSTRAINT accesskey_scopes CHECK (
            cardinality(scopes) > 0 AND scopes <@ '{read,calls,media,admin}'
        )
    """,
    # What is attempted, written before it is done; what came of it is a row of its own, so that
    # nothing is ever changed.
    """
    CREATE TABLE api_manager.audit_log (
        id uuid PRIMARY KEY,
        customer_id uuid,
        actor_type text NOT NULL
            CHECK (actor_type IN ('accesskey', 'token', 'administrator', 'unknown')),
        actor_id uuid,
        actor_customer_id uuid,
        operation text NOT NULL,
        resource_type text NOT NULL,
        resource_id uuid,
        client_address text NOT NULL,
        request_id text NOT NULL,
        count integer NOT NULL CHECK (count > 0),
        tm_create timestamptz NOT NULL
    )
    """,
    "CREATE INDEX audit_log_list ON api_manager.audit_log (tm_create DESC, id DESC)",
    """
    CREATE INDEX audit_log_by_customer ON api_manager.audit_log
    (customer_id, tm_create DESC, id DESC)
    """,
    """
    CREATE TABLE api_manager.audit_result (
        audit_id uuid PRIMARY KEY,
        status integer NOT NULL,
        reason text NOT NULL,
        resource_ids uuid[] NOT NULL,
        tm_create timestamptz NOT NULL
    )
    """,
    "CREATE INDEX audit_result_age ON api_manager.audit_result (tm_create)",
    # Append-only for whoever writes into it, mistakes of our own included. What has grown old may go.
    """
    CREATE FUNCTION api_manager.audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            IF OLD.tm_create < now() - interval '1 day' THEN
                RETURN OLD;
            END IF;
        END IF;
        RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    *(
        f"""
        CREATE TRIGGER {table}_{name} BEFORE {events} ON api_manager.{table}
        FOR EACH {each} EXECUTE FUNCTION api_manager.audit_is_kept()
        """
        for table in ("audit_log", "audit_result")
        for name, events, each in (
            ("rows", "UPDATE OR DELETE", "ROW"),
            ("whole", "TRUNCATE", "STATEMENT"),
        )
    ),
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE api_manager.audit_result, api_manager.audit_log")
    op.execute("DROP FUNCTION api_manager.audit_is_kept")
    op.execute("ALTER TABLE api_manager.accesskey DROP COLUMN scopes")
