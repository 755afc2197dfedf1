"""Conversations of the console, and the words in them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from trunkline.store.schema.base import metadata

# The full-text index, which each engine has in a form of its own, made by the migration alone: a virtual table with
# triggers on SQLite, a GIN index on PostgreSQL. Tables that SQLite keeps for it begin with the same name.
SEARCH_INDEX: Final = "conversation_search"

# `trunkline.store.conversation_tree` says what the columns hold. ``owner`` is a user's id, empty for whoever is at the
# machine of an open gateway; ``head`` is the last message of the branch that is shown; ``origin`` is where an imported
# conversation came from.
conversations = Table(
    "conversations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("title", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("head", String(64), nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("origin", String(200)),
    Column("created_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    # A list of words.
    Column("tags", JSON, nullable=False, server_default="[]"),
    UniqueConstraint("owner", "origin", name="uq_conversations_owner_origin"),
    Index("ix_conversations_owner_pinned", "owner", "pinned", "changed_at", "id"),
)

# A tree: ``parent`` is null for a first message. ``position`` counts the messages in the order they came.
conversation_messages = Table(
    "conversation_messages",
    metadata,
    Column("conversation", ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("parent", String(64)),
    Column("role", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("parts", JSON, nullable=False),
    Column("model", String(200), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("tokens_in", BigInteger),
    Column("tokens_out", BigInteger),
    Column("cost", Float),
    Column("log_id", String(26), nullable=False),
    Column("session_id", String(64), nullable=False),
    Column("details", JSON, nullable=False),
)

# What the index reads: the folded words of each message, and of the title where ``message`` is empty. ``number`` is an
# integer of the store's own making, since SQLite's index names rows so and moves no other kind of row id along.
conversation_words = Table(
    "conversation_words",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("conversation", ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("message", String(64), nullable=False),
    Column("words", Text, nullable=False),
    UniqueConstraint("conversation", "message", name="uq_conversation_words_conversation_message"),
)
