"""Who is asking, and with which provider key: read once, by one function, for every transport."""

from trunkline.credentials.placements import PLACEMENTS, Candidate, Carrier, Placement, Role, candidates
from trunkline.credentials.reading import Caller, Credentials, Rejection, read
from trunkline.credentials.redaction import fingerprint, redact_query, tail

__all__ = [
    "PLACEMENTS",
    "Caller",
    "Candidate",
    "Carrier",
    "Credentials",
    "Placement",
    "Rejection",
    "Role",
    "candidates",
    "fingerprint",
    "read",
    "redact_query",
    "tail",
]
