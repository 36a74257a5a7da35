"""What a customer may do: its quotas and policy, admission of calls, numbers that rest.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE api_manager.customer
        ADD COLUMN quotas jsonb NOT NULL DEFAULT '{}',
        ADD COLUMN policy jsonb NOT NULL DEFAULT '{}'
    """,
    """
    CREATE INDEX customer_frozen ON api_manager.customer (id) WHERE status = 'frozen'
    """,
    # A number that was given up rests before another customer may have it.
    """
    CREATE INDEX number_given_up ON route_manager.number (number, tm_delete)
    WHERE tm_delete IS NOT NULL
    """,
    # The calls of a customer that are up are counted whenever one more is to begin.
    """
    CREATE INDEX actor_live_by_customer ON call_manager.actor (customer_id) WHERE live
    """,
    # Unlogged: a call's slot only bridges the moment until the call itself is stored, so nothing is lost
    # with these tables; they cost no write-ahead log, and are empty after a crash or on a new primary.
    """
    CREATE UNLOGGED TABLE call_manager.call_slot (
        call_id uuid PRIMARY KEY,
        customer_id uuid NOT NULL,
        until timestamptz NOT NULL
    )
    """,
    "CREATE INDEX call_slot_by_customer ON call_manager.call_slot (customer_id)",
    """
    CREATE UNLOGGED TABLE call_manager.call_rate (
        customer_id uuid PRIMARY KEY,
        tokens double precision NOT NULL,
        at timestamptz NOT NULL
    ) WITH (fillfactor = 50)
    """,
    # One round trip. The row of call_rate is locked first, so a customer's calls are admitted one request
    # after the other; each statement of the function has a snapshot of its own and sees what was admitted
    # before. `rate` 0: calls per second do not count here.
    """
    CREATE FUNCTION call_manager.admit_calls(
        customer uuid, calls uuid[], most integer, rate double precision, burst double precision,
        lease interval, OUT refused text, OUT used integer, OUT wait double precision
    ) LANGUAGE plpgsql AS $$
    DECLARE
        fresh uuid[];
        wanted integer;
        level double precision;
    BEGIN
        refused := ''; wait := 0;
        -- Where they do not count the row is locked and left as it is: full, for one that is new.
        INSERT INTO call_manager.call_rate AS r
            VALUES (customer, CASE WHEN rate > 0 THEN burst ELSE 'infinity' END, clock_timestamp())
            ON CONFLICT (customer_id) DO UPDATE SET
                tokens = r.tokens + rate
                    * greatest(0, extract(epoch FROM clock_timestamp() - r.at)),
                at = CASE WHEN rate > 0 THEN clock_timestamp() ELSE r.at END
            RETURNING CASE WHEN rate > 0 THEN least(burst, tokens) ELSE tokens END INTO level;
        -- What was admitted before is not admitted twice: requests may be repeated.
        fresh := ARRAY(
            SELECT c FROM unnest(calls) AS c
            WHERE NOT EXISTS (SELECT FROM call_manager.call_slot AS s
                              WHERE s.call_id = c AND s.customer_id = customer)
              AND NOT EXISTS (SELECT FROM call_manager.actor AS a
                              WHERE a.id = c AND a.customer_id = customer));
        wanted := cardinality(fresh);
        used := (SELECT count(*) FROM call_manager.actor AS a
                 WHERE a.customer_id = customer AND a.live)
              + (SELECT count(*) FROM call_manager.call_slot AS s
                 WHERE s.customer_id = customer AND s.until > clock_timestamp()
                   AND NOT EXISTS (SELECT FROM call_manager.actor AS a WHERE a.id = s.call_id
                                   AND (a.customer_id = customer OR NOT a.live)));
        IF wanted > 0 AND used + wanted > most THEN
            refused := 'concurrent_calls';
        ELSIF wanted > 0 AND rate > 0 AND level < wanted THEN
            refused := 'calls_per_second';
            wait := (wanted - level) / rate;
        ELSE
            INSERT INTO call_manager.call_slot
                SELECT c, customer, clock_timestamp() + lease FROM unnest(fresh) AS c
                ON CONFLICT (call_id) DO NOTHING;
            IF rate > 0 THEN
                level := level - wanted;
            END IF;
        END IF;
        UPDATE call_manager.call_rate SET tokens = level WHERE customer_id = customer;
    END $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION call_manager.admit_calls")
    op.execute("DROP TABLE call_manager.call_rate, call_manager.call_slot")
    op.execute("DROP INDEX call_manager.actor_live_by_customer")
    op.execute("DROP INDEX route_manager.number_given_up")
    op.execute("DROP INDEX api_manager.customer_frozen")
    op.execute("ALTER TABLE api_manager.customer DROP COLUMN quotas, DROP COLUMN policy")
