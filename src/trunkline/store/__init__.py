"""What is kept across restarts, in SQLite or PostgreSQL.

An administrator's set-up, with provider keys sealed, and what became of requests and sessions.
"""

from trunkline.store.audit import Actor, AuditFilter, AuditLog, AuditRow, Change, act_as, changing, present_actor
from trunkline.store.configuration import Configuration
from trunkline.store.database import AWAY, Database
from trunkline.store.journal import Batch, Journal, JournalStats
from trunkline.store.log_filter import LogFilter
from trunkline.store.log_record import LogRecord
from trunkline.store.logs import LogRow, Logs, Payload
from trunkline.store.session_usage import usage_since
from trunkline.store.sessions import RealtimeSessions, SessionFilter, SessionSummary, StoredSession
from trunkline.store.users import LoginToken, SignIn, User, Users
from trunkline.store.vault import Vault

__all__ = [
    "AWAY",
    "Actor",
    "AuditFilter",
    "AuditLog",
    "AuditRow",
    "Batch",
    "Change",
    "Configuration",
    "Database",
    "Journal",
    "JournalStats",
    "LogFilter",
    "LogRecord",
    "LogRow",
    "LoginToken",
    "Logs",
    "Payload",
    "RealtimeSessions",
    "SessionFilter",
    "SessionSummary",
    "SignIn",
    "StoredSession",
    "User",
    "Users",
    "Vault",
    "act_as",
    "changing",
    "present_actor",
    "usage_since",
]
