"""What a gateway does with requests besides passing them on, and what was used of its limits."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add columns to gateways and logs, and the table of counts."""
    op.add_column("gateways", sa.Column("control", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("logs", sa.Column("route", sa.String(200), nullable=False, server_default=sa.text("''")))
    op.add_column("logs", sa.Column("findings", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "limit_counts",
        sa.Column("bucket", sa.String(300), primary_key=True),
        sa.Column("start", sa.BigInteger(), primary_key=True),
        sa.Column("amount", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False, index=True),
    )
    _let_kept_fields_act()


def _let_kept_fields_act() -> None:
    """Make rules of the fields of Cloudflare's gateway that were kept until now and did nothing.

    Not of ``guardrails`` and ``dlp``: they ask a model about each request, which nobody has tried yet.
    """
    gateways = sa.table("gateways", sa.column("id", sa.String), sa.column("control", sa.JSON))
    kept = sa.table("gateway_fields", sa.column("gateway", sa.String), sa.column("fields", sa.JSON))
    connection = op.get_bind()
    for name, fields in connection.execute(sa.select(kept.c.gateway, kept.c.fields)).all():
        control = _control(fields or {})
        if control:
            connection.execute(sa.update(gateways).where(gateways.c.id == name).values(control=control))


def _control(fields: dict[str, Any]) -> dict[str, Any]:
    cache: dict[str, Any] = {}
    if fields.get("cache_ttl"):
        cache["ttl"] = min(int(fields["cache_ttl"]), 2_592_000)
    if fields.get("cache_invalidate_on_update"):
        cache["invalidate_on_update"] = True
    tries = {"max_attempts": "retry_max_attempts", "delay": "retry_delay", "backoff": "retry_backoff"}
    attempts = {ours: fields[theirs] for ours, theirs in tries.items() if fields.get(theirs)}
    found = {"cache": cache, "attempts": attempts, "limits": [*_rate(fields), *_spending(fields)]}
    return {name: part for name, part in found.items() if part}


def _rate(fields: dict[str, Any]) -> list[dict[str, Any]]:
    limit, window = fields.get("rate_limiting_limit"), fields.get("rate_limiting_interval")
    if not limit or not window:
        return []
    technique = fields.get("rate_limiting_technique") or "fixed"
    return [{"id": "rate", "measure": "requests", "limit": limit, "window": _window(window), "technique": technique}]


def _spending(fields: dict[str, Any]) -> list[dict[str, Any]]:
    told = fields.get("spend_limits") or {}
    rules = []
    for number, rule in enumerate(told.get("rules") or (), 1):
        names = {f"metadata.{name}": one for name, one in (rule.get("metadata") or {}).items()}
        names |= {name: rule[name] for name in ("model", "provider") if rule.get(name)}
        per = [name for name, one in names.items() if one["mode"] == "partition"]
        if len(names) > 8 or any(len(name) > 120 for name in names):  # more than a rule takes
            continue
        rules.append(
            {
                "id": f"spend.{number}",
                "measure": "cost",
                "limit": min(rule["limit"], 1e15),
                "window": _window(rule["window"]),
                "technique": rule.get("technique") or "fixed",
                "per": per,
                "where": {name: one["values"] for name, one in names.items() if name not in per and one["values"]},
                "enabled": told.get("enabled") is not False and rule.get("enabled") is not False,
            }
        )
    return rules


def _window(seconds: int) -> int:
    return min(int(seconds), 31_622_400)
