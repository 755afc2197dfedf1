"""What the management API keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "gateway_fields",
        sa.Column("gateway", sa.String(64), _gateway_key(), primary_key=True),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("modified_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "custom_providers",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("slug", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("base_url", sa.String(500), nullable=False),
        sa.Column("enable", sa.Boolean(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        *_times("created_at", "modified_at"),
    )
    place = ["gateway", "provider", "alias"]
    op.create_table(
        "provider_configs",
        *(sa.Column(name, sa.String(64), primary_key=True) for name in place),
        sa.Column("default_config", sa.Boolean(), nullable=False),
        sa.Column("rate_limit", sa.Float()),
        sa.Column("rate_limit_period", sa.Float()),
        sa.ForeignKeyConstraint(
            place,
            [f"stored_keys.{name}" for name in place],
            name="fk_provider_configs_stored_keys",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("gateway", sa.String(64), _gateway_key(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("enable", sa.Boolean(), nullable=False),
        sa.Column("filters", sa.JSON(), nullable=False),
        *_times("created_at", "modified_at"),
        sa.UniqueConstraint("gateway", "name", name="uq_datasets_gateway_name"),
    )
    op.create_table(
        "evaluations",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("gateway", sa.String(64), _gateway_key(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("datasets", sa.JSON(), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.Column("total_logs", sa.Integer(), nullable=False),
        *_times("created_at"),
    )
    op.create_index("ix_evaluations_gateway", "evaluations", ["gateway"])
    op.create_table(
        "routes",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("gateway", sa.String(64), _gateway_key(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        *_times("created_at", "modified_at"),
        sa.UniqueConstraint("gateway", "name", name="uq_routes_gateway_name"),
    )
    op.create_table(
        "route_versions",
        sa.Column("id", sa.String(26), primary_key=True),
        _route(),
        sa.Column("elements", sa.JSON(), nullable=False),
        *_times("created_at"),
    )
    op.create_index("ix_route_versions_route", "route_versions", ["route"])
    op.create_table(
        "route_deployments",
        sa.Column("id", sa.String(26), primary_key=True),
        _route(),
        sa.Column("version", sa.String(26), sa.ForeignKey("route_versions.id", ondelete="CASCADE"), nullable=False),
        *_times("created_at"),
    )
    op.create_index("ix_route_deployments_route", "route_deployments", ["route"])
    op.create_table(
        "account_fields",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.JSON(), nullable=False),
    )


def _gateway_key() -> sa.ForeignKey:
    return sa.ForeignKey("gateways.id", ondelete="CASCADE")


def _route() -> sa.Column[str]:
    return sa.Column("route", sa.String(36), sa.ForeignKey("routes.id", ondelete="CASCADE"), nullable=False)


def _times(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Float(), nullable=False) for name in names]
