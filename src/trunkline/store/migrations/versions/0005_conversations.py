"""Conversations of the console."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables and the full-text index over their words."""
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.String(200)),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.UniqueConstraint("owner", "origin", name="uq_conversations_owner_origin"),
    )
    op.create_index("ix_conversations_owner_pinned", "conversations", ["owner", "pinned", "changed_at", "id"])
    op.create_table(
        "conversation_messages",
        sa.Column("conversation", sa.String(64), _of_conversation(), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("parent", sa.String(64)),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger()),
        sa.Column("tokens_out", sa.BigInteger()),
        sa.Column("cost", sa.Float()),
        sa.Column("log_id", sa.String(26), nullable=False),
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
    )
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "conversation_words",
        sa.Column("number", number, primary_key=True, autoincrement=False),
        sa.Column("conversation", sa.String(64), _of_conversation(), nullable=False),
        sa.Column("message", sa.String(64), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.UniqueConstraint("conversation", "message", name="uq_conversation_words_conversation_message"),
    )
    statements = _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE
    for statement in statements:
        op.execute(statement)


def _of_conversation() -> sa.ForeignKey:
    return sa.ForeignKey("conversations.id", ondelete="CASCADE")


_POSTGRESQL = (
    "CREATE INDEX conversation_search ON conversation_words USING gin (to_tsvector('simple'::regconfig, words))",
)

# The words have been folded already. Triggers keep the index true to the table whoever writes to it.
_SQLITE = (
    """CREATE VIRTUAL TABLE conversation_search USING fts5(
        words, content='conversation_words', content_rowid='number', tokenize='unicode61 remove_diacritics 0')""",
    """CREATE TRIGGER conversation_words_added AFTER INSERT ON conversation_words BEGIN
        INSERT INTO conversation_search(rowid, words) VALUES (new.number, new.words);
    END""",
    """CREATE TRIGGER conversation_words_removed AFTER DELETE ON conversation_words BEGIN
        INSERT INTO conversation_search(conversation_search, rowid, words) VALUES ('delete', old.number, old.words);
    END""",
    """CREATE TRIGGER conversation_words_changed AFTER UPDATE ON conversation_words BEGIN
        INSERT INTO conversation_search(conversation_search, rowid, words) VALUES ('delete', old.number, old.words);
        INSERT INTO conversation_search(rowid, words) VALUES (new.number, new.words);
    END""",
)
