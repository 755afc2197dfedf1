"""What answers used: read from every provider's formats, whole and streamed, beside their way to the client.

`UsageReader` reads an answer, `request_facts` a request; `with_usage` and `UsageStripper` ask for the usage of a stream
on behalf of a caller who did not.
"""

from __future__ import annotations

from trunkline.policy.usage.reader import Answered, UsageReader
from trunkline.policy.usage.request import Kind, RequestFacts, kind_of, request_facts
from trunkline.policy.usage.streams import UsageStripper, states_usage, with_usage
from trunkline.policy.usage.tokens import TokenUsage

__all__ = [
    "Answered",
    "Kind",
    "RequestFacts",
    "TokenUsage",
    "UsageReader",
    "UsageStripper",
    "kind_of",
    "request_facts",
    "states_usage",
    "with_usage",
]
