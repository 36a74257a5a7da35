"""The plain table of `call_manager`; the actors' tables belong to the engine."""

import sqlalchemy as sa

metadata = sa.MetaData(schema="call_manager")

audio = sa.Table(
    "audio",
    metadata,
    # Content's hash for a customer's file; the hash of text, language and voice for speech.
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
)

audio_use = sa.Table(
    "audio_use",
    metadata,
    # Which customer keeps which audio: what two of them keep is stored once, and counts for both.
    sa.Column("customer_id", sa.Uuid, primary_key=True),
    sa.Column("name", sa.Text, sa.ForeignKey(audio.c.name, ondelete="CASCADE"), primary_key=True),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
)
