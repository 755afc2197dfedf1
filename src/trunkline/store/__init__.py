"""What is kept across restarts: an administrator's set-up, in SQLite, with provider keys sealed."""

from trunkline.store.configuration import Configuration
from trunkline.store.database import Database
from trunkline.store.vault import Vault

__all__ = ["Configuration", "Database", "Vault"]
