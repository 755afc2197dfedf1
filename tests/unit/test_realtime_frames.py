"""A frame's type is found wherever it stands, and nowhere else."""

from __future__ import annotations

import pytest

from trunkline.realtime.frames import Frame


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ('{"type":"response.done","response":{"type":"x"}}', "response.done"),
        ('{ "event_id" : "event_1", "type" : "session.created"}', "session.created"),
        ('{"session":{"type":"realtime"},"type":"session.update"}', "session.update"),
        ('{"session":{"type":"realtime"}}', ""),
        ('{"type":7}', ""),
        ('{"ty\\u0070e":"error"}', "error"),
        ('["type","error"]', ""),
        ("not JSON", ""),
        ("", ""),
    ],
)
def test_the_type_is_found_without_or_with_parsing(text: str, type: str) -> None:
    assert Frame(text).type == type


def test_what_is_no_object_has_an_empty_document() -> None:
    assert Frame("[1]").document == {}
    assert Frame('{"a":1}').document == {"a": 1}
