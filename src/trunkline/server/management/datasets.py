"""Datasets: rows of a gateway's log that filters choose, by a name."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from trunkline.errors import NotFound
from trunkline.server.gateway import Gateway
from trunkline.server.management.access import ManagementRoute, TheGateway
from trunkline.server.management.envelope import Envelope, Listing, Paging, matches, moment
from trunkline.server.management.gateways import management_of
from trunkline.server.management.log_queries import checked_conditions
from trunkline.store.log_filter import LogFilter, clauses_of
from trunkline.store.management import Dataset

_MOST: Final = 10


class DatasetFilter(BaseModel):
    """One condition, which any of the values may fulfil."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(max_length=120)]
    operator: Literal["eq", "neq", "contains", "lt", "gt"]
    value: Annotated[list[str | float | bool | None], Field(min_length=1, max_length=200)]


class DatasetTerms(BaseModel):
    """What a dataset is. Without filters it is the whole log of its gateway."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    enable: bool
    filters: Annotated[list[DatasetFilter], Field(max_length=50)]


class DatasetObject(BaseModel):
    """A dataset."""

    id: str
    name: str
    enable: bool
    filters: list[DatasetFilter]
    gateway_id: str
    created_at: datetime
    modified_at: datetime


routes = APIRouter(prefix="/gateways/{gateway_id}/datasets", tags=["datasets"], route_class=ManagementRoute)
_Text = Annotated[str | None, Query(max_length=200)]


@routes.get("")
async def list_datasets(
    gateway: TheGateway,
    gateway_id: str,
    paging: Annotated[Paging, Depends()],
    enable: bool | None = None,
    name: _Text = None,
    search: _Text = None,
) -> Listing[DatasetObject]:
    """List a gateway's datasets."""
    found = [
        dataset_view(one)
        for one in await management_of(gateway).datasets(gateway_id)
        if enable in (None, one.enable)
        and name in (None, one.name)
        and matches(search, one.id, one.name, json.dumps(one.filters))
    ]
    return paging.cut(found)


@routes.post("")
async def create_dataset(gateway: TheGateway, gateway_id: str, wanted: DatasetTerms) -> Envelope[DatasetObject]:
    """Make a dataset; a gateway has ten at most."""
    filters = _checked(gateway, gateway_id, wanted)
    await gateway.configuration.ensure_gateway(gateway_id)
    made = await management_of(gateway).create_dataset(gateway_id, wanted.name, wanted.enable, filters, _MOST)
    return Envelope(result=dataset_view(made))


@routes.get("/{id}")
async def get_dataset(gateway: TheGateway, gateway_id: str, id: str) -> Envelope[DatasetObject]:
    """Return a dataset."""
    return _answer(await management_of(gateway).dataset(gateway_id, id), id)


@routes.put("/{id}")
async def update_dataset(
    gateway: TheGateway, gateway_id: str, id: str, wanted: DatasetTerms
) -> Envelope[DatasetObject]:
    """Replace what a dataset is."""
    filters = _checked(gateway, gateway_id, wanted)
    changed = await management_of(gateway).change_dataset(gateway_id, id, wanted.name, wanted.enable, filters)
    return _answer(changed, id)


@routes.delete("/{id}")
async def delete_dataset(gateway: TheGateway, gateway_id: str, id: str) -> Envelope[DatasetObject]:
    """Remove a dataset; the rows of the log stay."""
    return _answer(await management_of(gateway).delete_dataset(gateway_id, id), id)


def rows_of(dataset: Dataset) -> LogFilter:
    """Return which rows a dataset chooses."""
    return LogFilter(gateway=dataset.gateway, conditions=checked_conditions(dataset.filters))


def dataset_view(one: Dataset) -> DatasetObject:
    """Return a dataset as it is shown."""
    return DatasetObject(
        id=one.id,
        name=one.name,
        enable=one.enable,
        filters=[DatasetFilter(**each) for each in one.filters],
        gateway_id=one.gateway,
        created_at=moment(one.created_at),
        modified_at=moment(one.modified_at),
    )


def _checked(gateway: Gateway, name: str, wanted: DatasetTerms) -> list[dict[str, Any]]:
    """Return the filters. Raises `MalformedRequest` for one that could not choose rows."""
    filters = [one.model_dump() for one in wanted.filters]
    clauses_of(LogFilter(gateway=name, conditions=checked_conditions(filters)), gateway.database.dialect)
    return filters


def _answer(found: Dataset | None, id: str) -> Envelope[DatasetObject]:
    if found is None:
        raise NotFound(f"This gateway has no dataset with the id {id[:64]!r}.")
    return Envelope(result=dataset_view(found))
