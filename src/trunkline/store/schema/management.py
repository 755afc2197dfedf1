"""What Cloudflare's management API keeps beyond the set-up: datasets, evaluations, dynamic routes, custom providers."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from trunkline.store.schema.base import metadata

# Fields of Cloudflare's gateway that are no switches of ours; ``sealed`` holds those that may contain credentials.
gateway_fields = Table(
    "gateway_fields",
    metadata,
    Column("gateway", ForeignKey("gateways.id", ondelete="CASCADE"), primary_key=True),
    Column("fields", JSON, nullable=False),
    Column("sealed", LargeBinary),
    Column("modified_at", Float, nullable=False),
)

# Providers that are added while the gateway runs. ``slug`` is without ``custom-``; ``sealed`` holds the headers.
custom_providers = Table(
    "custom_providers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("slug", String(64), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("base_url", String(500), nullable=False),
    Column("enable", Boolean, nullable=False),
    Column("fields", JSON, nullable=False),
    Column("sealed", LargeBinary),
    Column("created_at", Float, nullable=False),
    Column("modified_at", Float, nullable=False),
)

# What is said of a stored key besides its value. At most one of a provider's is the default.
provider_configs = Table(
    "provider_configs",
    metadata,
    Column("gateway", String(64), primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("default_config", Boolean, nullable=False),
    Column("rate_limit", Float),
    Column("rate_limit_period", Float),
    ForeignKeyConstraint(
        ["gateway", "provider", "alias"],
        ["stored_keys.gateway", "stored_keys.provider", "stored_keys.alias"],
        name="fk_provider_configs_stored_keys",
        ondelete="CASCADE",
    ),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("gateway", ForeignKey("gateways.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("enable", Boolean, nullable=False),
    Column("filters", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("modified_at", Float, nullable=False),
    UniqueConstraint("gateway", "name", name="uq_datasets_gateway_name"),
)

# ``datasets`` are those that were evaluated, as they were then; ``results`` is an array of objects.
evaluations = Table(
    "evaluations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("gateway", ForeignKey("gateways.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("datasets", JSON, nullable=False),
    Column("results", JSON, nullable=False),
    Column("total_logs", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
)

# A dynamic route: versions never change, and the newest deployment says which of them is in use.
routes = Table(
    "routes",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("gateway", ForeignKey("gateways.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("modified_at", Float, nullable=False),
    UniqueConstraint("gateway", "name", name="uq_routes_gateway_name"),
)

# Ids are ULIDs: they sort by time.
route_versions = Table(
    "route_versions",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("route", ForeignKey("routes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("elements", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
)

route_deployments = Table(
    "route_deployments",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("route", ForeignKey("routes.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("version", ForeignKey("route_versions.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Float, nullable=False),
)

# What counts for all gateways together, such as a spending limit, by name.
account_fields = Table(
    "account_fields",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", JSON, nullable=False),
)
