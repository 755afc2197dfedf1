"""What is kept across restarts, in SQLite: an administrator's set-up, with provider keys sealed, and sessions."""

from trunkline.store.configuration import Configuration
from trunkline.store.database import Database
from trunkline.store.log_record import LogRecord
from trunkline.store.session_usage import usage_since
from trunkline.store.sessions import RealtimeSessions, SessionFilter, SessionSummary, StoredSession
from trunkline.store.vault import Vault

__all__ = [
    "Configuration",
    "Database",
    "LogRecord",
    "RealtimeSessions",
    "SessionFilter",
    "SessionSummary",
    "StoredSession",
    "Vault",
    "usage_since",
]
