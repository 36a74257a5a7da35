"""Dead letters: messages that a service's actors could not handle.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

from evercall.store.actor_tables import dead_letter_table

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SERVICES = ("call_manager", "flow_manager")


def upgrade() -> None:
    for service in SERVICES:
        for statement in dead_letter_table(service).split(";\n"):
            if statement.strip():
                op.execute(statement)


def downgrade() -> None:
    for service in SERVICES:
        op.execute(f"DROP TABLE {service}.dead_letter")
