"""The tables of `api_manager`. Constraints and indexes stand in the migrations."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = sa.MetaData(schema="api_manager")

customer = sa.Table(
    "customer",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("phone_number", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    # What differs from the platform's defaults.
    sa.Column("quotas", JSONB, nullable=False),
    sa.Column("policy", JSONB, nullable=False),
    sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tm_update", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tm_delete", sa.DateTime(timezone=True)),
)

accesskey = sa.Table(
    "accesskey",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("token_hash", sa.LargeBinary, nullable=False),
    sa.Column("token_prefix", sa.Text, nullable=False),
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    sa.Column("tm_expire", sa.DateTime(timezone=True)),
    sa.Column("tm_last_use", sa.DateTime(timezone=True)),
    sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tm_update", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tm_delete", sa.DateTime(timezone=True)),
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("customer_id", sa.Uuid),
    sa.Column("actor_type", sa.Text, nullable=False),
    sa.Column("actor_id", sa.Uuid),
    sa.Column("actor_customer_id", sa.Uuid),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("resource_type", sa.Text, nullable=False),
    sa.Column("resource_id", sa.Uuid),
    sa.Column("client_address", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
)

audit_result = sa.Table(
    "audit_result",
    metadata,
    sa.Column("audit_id", sa.Uuid, primary_key=True),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("resource_ids", ARRAY(sa.Uuid), nullable=False),
    sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("customer_id", sa.Uuid, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("base_id", sa.Uuid, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("body", sa.LargeBinary),
    sa.Column("tm_lock", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tm_expire", sa.DateTime(timezone=True), nullable=False),
)
