"""Evaluations: what the rows of datasets cost, how long they took and what people thought of them, on the average."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from trunkline.errors import MalformedRequest, NotFound
from trunkline.server.gateway import Gateway
from trunkline.server.management.access import ManagementRoute, TheGateway
from trunkline.server.management.datasets import DatasetObject, dataset_view, rows_of
from trunkline.server.management.envelope import Envelope, Listing, Paging, matches, moment
from trunkline.server.management.gateways import management_of
from trunkline.store.log_sums import Spread, spreads
from trunkline.store.management import Dataset, Evaluation


class _Kind(msgspec.Struct, frozen=True):
    name: str
    description: str
    key: str
    form: str


# By their ids. The mean is taken of the rows that have the number.
_KINDS: Final = {
    "cost": _Kind("Cost", "The mean cost of an exchange, in US dollars.", "cost", "{:.8f}"),
    "speed": _Kind("Speed", "The mean duration of an exchange, in milliseconds.", "duration", "{:.1f}"),
    "human-feedback": _Kind(
        "Human feedback", "The mean of what people said of exchanges, from -1 to 1.", "feedback", "{:.4f}"
    ),
}
_SINCE: Final = datetime(2026, 11, 24, tzinfo=UTC)
_DONE: Final = 1.0
_NOTHING_FOUND: Final = 0.0


class EvaluationType(BaseModel):
    """A way to evaluate."""

    id: str
    name: str
    type: str
    description: str
    enable: bool
    mandatory: bool
    created_at: datetime
    modified_at: datetime


class NewEvaluation(BaseModel):
    """An evaluation to make."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    dataset_ids: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=10)]
    evaluation_type_ids: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=10)]


class EvaluatedDataset(DatasetObject):
    """A dataset as it was when it was evaluated."""

    account_id: str
    account_tag: str


class EvaluationResult(BaseModel):
    """What one way found out. ``status`` is 1, or 0 where no row has such a number; then ``result`` is empty."""

    id: str
    evaluation_id: str
    evaluation_type_id: str
    result: str
    status: float
    status_description: str
    total_logs: int
    created_at: datetime
    modified_at: datetime


class EvaluationObject(BaseModel):
    """An evaluation. ``total_logs`` counts the rows that the datasets chose, each once."""

    id: str
    name: str
    gateway_id: str
    datasets: list[EvaluatedDataset]
    processed: bool
    results: list[EvaluationResult]
    total_logs: int
    created_at: datetime
    modified_at: datetime


routes = APIRouter(tags=["evaluations"], route_class=ManagementRoute)
_Text = Annotated[str | None, Query(max_length=200)]


@routes.get("/evaluation-types")
async def list_evaluation_types(
    paging: Annotated[Paging, Depends()],
    order_by: Literal["id", "name", "type", "created_at"] | None = None,
    order_by_direction: Literal["asc", "desc"] = "asc",
) -> Listing[EvaluationType]:
    """List the ways to evaluate."""
    types = [
        EvaluationType(
            id=key,
            name=kind.name,
            type=key,
            description=kind.description,
            enable=True,
            mandatory=False,
            created_at=_SINCE,
            modified_at=_SINCE,
        )
        for key, kind in _KINDS.items()
    ]
    if order_by is not None:
        types.sort(key=lambda one: str(getattr(one, order_by)), reverse=order_by_direction == "desc")
    return paging.cut(types)


@routes.get("/gateways/{gateway_id}/evaluations")
async def list_evaluations(
    gateway: TheGateway,
    gateway_id: str,
    paging: Annotated[Paging, Depends()],
    name: _Text = None,
    processed: bool | None = None,
    search: _Text = None,
) -> Listing[EvaluationObject]:
    """List a gateway's evaluations, newest first. All are processed: they are made at once."""
    found = [
        _view(gateway, one)
        for one in await management_of(gateway).evaluations(gateway_id)
        if processed is not False and name in (None, one.name) and matches(search, one.id, one.name)
    ]
    return paging.cut(found)


@routes.post("/gateways/{gateway_id}/evaluations")
async def create_evaluation(gateway: TheGateway, gateway_id: str, wanted: NewEvaluation) -> Envelope[EvaluationObject]:
    """Evaluate the rows that are in the log now."""
    unknown = [kind for kind in wanted.evaluation_type_ids if kind not in _KINDS]
    if unknown:
        raise MalformedRequest(f"evaluation_type_ids: {unknown[0]!r} is none of {', '.join(_KINDS)}.")
    datasets = await _datasets(gateway, gateway_id, wanted.dataset_ids)
    await gateway.drain.flush()
    await gateway.configuration.ensure_gateway(gateway_id)
    kinds = list(dict.fromkeys(wanted.evaluation_type_ids))
    keys = [_KINDS[kind].key for kind in kinds]
    total, found = await spreads(gateway.database, [rows_of(one) for one in datasets], keys)
    made = Evaluation(
        id=str(uuid.uuid4()),
        gateway=gateway_id,
        name=wanted.name,
        datasets=datasets,
        results=[_result(kind, found[_KINDS[kind].key], total) for kind in kinds],
        total_logs=total,
        created_at=time.time(),
    )
    await management_of(gateway).add_evaluation(made)
    return Envelope(result=_view(gateway, made))


@routes.get("/gateways/{gateway_id}/evaluations/{id}")
async def get_evaluation(gateway: TheGateway, gateway_id: str, id: str) -> Envelope[EvaluationObject]:
    """Return an evaluation."""
    found = next((one for one in await management_of(gateway).evaluations(gateway_id) if one.id == id), None)
    return _answer(gateway, found, id)


@routes.delete("/gateways/{gateway_id}/evaluations/{id}")
async def delete_evaluation(gateway: TheGateway, gateway_id: str, id: str) -> Envelope[EvaluationObject]:
    """Remove an evaluation."""
    return _answer(gateway, await management_of(gateway).delete_evaluation(gateway_id, id), id)


async def _datasets(gateway: Gateway, name: str, ids: Sequence[str]) -> list[Dataset]:
    known = {one.id: one for one in await management_of(gateway).datasets(name)}
    for wanted in ids:
        if wanted not in known:
            raise MalformedRequest(f"dataset_ids: this gateway has no dataset with the id {wanted!r}.")
        if not known[wanted].enable:
            raise MalformedRequest(f"dataset_ids: the dataset {known[wanted].name!r} is not enabled.")
    return [known[wanted] for wanted in dict.fromkeys(ids)]


def _result(kind: str, found: Spread, total: int) -> dict[str, Any]:
    if found.mean is None:
        said = {
            "result": "",
            "status": _NOTHING_FOUND,
            "status_description": f"None of {total} rows has such a number.",
        }
    else:
        result = _KINDS[kind].form.format(found.mean)
        said = {"result": result, "status": _DONE, "status_description": f"The mean of {found.rows} rows."}
    return {"id": str(uuid.uuid4()), "evaluation_type_id": kind, "total_logs": found.rows, **said}


def _view(gateway: Gateway, one: Evaluation) -> EvaluationObject:
    account, made = gateway.settings.account, moment(one.created_at)
    return EvaluationObject(
        id=one.id,
        name=one.name,
        gateway_id=one.gateway,
        datasets=[
            EvaluatedDataset(**dataset_view(each).model_dump(), account_id=account, account_tag=account)
            for each in one.datasets
        ],
        processed=True,
        results=[
            EvaluationResult(**each, evaluation_id=one.id, created_at=made, modified_at=made) for each in one.results
        ],
        total_logs=one.total_logs,
        created_at=made,
        modified_at=made,
    )


def _answer(gateway: Gateway, found: Evaluation | None, id: str) -> Envelope[EvaluationObject]:
    if found is None:
        raise NotFound(f"This gateway has no evaluation with the id {id[:64]!r}.")
    return Envelope(result=_view(gateway, found))
