"""The tables of `route_manager`. Constraints and indexes stand in the migrations."""

import sqlalchemy as sa

metadata = sa.MetaData(schema="route_manager")

number = sa.Table(
    "number",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("customer_id", sa.Uuid, nullable=False),
    sa.Column("number", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("call_flow_id", sa.Uuid),
    sa.Column("tm_create", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tm_update", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tm_delete", sa.DateTime(timezone=True)),
)
