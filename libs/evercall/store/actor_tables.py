"""The tables of the actor engine as SQL, for the migrations and for tests of the engine."""

_STATE = """
CREATE SCHEMA {schema};

CREATE TABLE {schema}.actor (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    shard integer NOT NULL,
    customer_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    live boolean NOT NULL,
    hidden boolean NOT NULL,
    -- json, not jsonb: it is written on every step and read whole, and U+0000 in a caller's name is
    -- kept as the escape that it is
    record json NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX actor_live ON {schema}.actor (shard) WHERE live;
CREATE INDEX actor_list ON {schema}.actor (customer_id, kind, created_at DESC, id DESC) WHERE NOT hidden;

CREATE TABLE {schema}.actor_shard (
    shard integer PRIMARY KEY,
    generation bigint NOT NULL,
    batches bigint NOT NULL,
    owner text NOT NULL,
    claimed_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE {schema}.actor_batch (
    shard integer NOT NULL,
    at timestamptz NOT NULL,
    message_ids text[] NOT NULL
);
CREATE INDEX actor_batch_shard ON {schema}.actor_batch (shard, at);

CREATE TABLE {schema}.outbox (
    id uuid PRIMARY KEY,
    shard integer NOT NULL,
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    exchange text NOT NULL,
    routing_key text NOT NULL,
    type text NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX outbox_shard ON {schema}.outbox (shard, sequence);
"""


_DEAD_LETTERS = """
CREATE TABLE {schema}.dead_letter (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    shard integer NOT NULL,
    actor uuid,
    reason text NOT NULL,
    type text NOT NULL,
    -- json, not jsonb: a peer may have put U+0000 into a property
    properties json NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX dead_letter_at ON {schema}.dead_letter (at, id);
"""


def actor_tables(schema: str) -> str:
    """The statements that make the engine's tables in a new schema."""
    return state_tables(schema) + dead_letter_table(schema)


def state_tables(schema: str) -> str:
    """The schema, with what the engine writes at every step."""
    return _STATE.format(schema=schema)


def dead_letter_table(schema: str) -> str:
    """The table of the messages that were given up."""
    return _DEAD_LETTERS.format(schema=schema)
