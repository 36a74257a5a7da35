"""The tables of `flow_manager` beside those of its actors. Indexes stand in the migrations."""

import sqlalchemy as sa

metadata = sa.MetaData(schema="flow_manager")

flow = sa.Table(
    "flow",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("actions", sa.JSON, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False),
    sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tm_update", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tm_delete", sa.DateTime(timezone=True)),
)
