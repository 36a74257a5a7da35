"""Tables of the actor engine, once per service that has actors.

Revision ID: 0001
Revises:
"""

from alembic import op

from evercall.store.actor_tables import state_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SERVICES = ("call_manager", "flow_manager")


def upgrade() -> None:
    for service in SERVICES:
        for statement in state_tables(service).split(";\n"):
            if statement.strip():
                op.execute(statement)


def downgrade() -> None:
    for service in SERVICES:
        op.execute(f"DROP SCHEMA {service} CASCADE")
