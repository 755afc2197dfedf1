"""What is kept: the database, the key that seals in it, the journal before it, and the server that processes share."""

from __future__ import annotations

import time

from trunkline.cli.doctor.findings import Notes
from trunkline.cli.doctor.installation import Installation
from trunkline.cli.output import megabytes
from trunkline.errors import SettingsError, first_line
from trunkline.policy.registry import GatewayRules
from trunkline.store import AWAY, Configuration, Database, Vault
from trunkline.store.inspection import contents_of, health_of
from trunkline.store.journal import survey
from trunkline.store.location import SqliteFile, locate
from trunkline.store.schema import HEAD
from trunkline.store.valkey import Valkey
from trunkline.store.vault import FILE_NAME as KEY_FILE


async def database(it: Installation, notes: Notes) -> None:
    """Whether it answers, is sound, may be written to, and has the tables of this program."""
    try:
        location = locate(it.settings.data_dir, it.settings.database_url)
        if isinstance(location, SqliteFile) and not location.path.exists():
            notes.ok(f"There is no file {location} yet; `serve` makes it.")
            return
        it.database = await Database.look_at(it.settings.data_dir, it.settings.database_url)
        health = it.health = await health_of(it.database)
    except (SettingsError, *AWAY) as error:
        notes.fault(
            first_line(error),
            "Bring it back, or correct database_url; of a damaged file, restore a backup (`trunkline restore`).",
        )
        return
    if health.clock is not None:
        it.clocks[str(location)] = health.clock
    for said in health.faults:
        notes.fault(f"{location} is damaged: {said}.", "Stop the gateway, and restore a backup (`trunkline restore`).")
    for act in health.rights:
        notes.fault(f"At {location} this user may not {act}.", "Make it the owner of the database.")
    seen = f"{health.server}, {location}"
    if health.is_newer:
        notes.fault(
            f"{seen}: its tables are of a newer Trunkline ({health.version}; this one knows {HEAD}).",
            "Install that version, or give another data_dir or database_url.",
        )
    elif not health.is_current:
        what = f"are of an older Trunkline ({health.version}, not {HEAD})" if health.version else "are not there yet"
        notes.warning(
            f"{seen}: its tables {what}.", "`serve` brings them up to date. Make a backup before (`trunkline backup`)."
        )
    elif not notes.findings:
        it.contents = await contents_of(it.database)
        notes.ok(f"{seen}: sound, and up to date ({health.version}).")


async def master_key(it: Installation, notes: Notes) -> None:
    """Whether the key that seals is there, and opens what was sealed."""
    path = it.settings.data_dir / KEY_FILE
    where = "TRUNKLINE_MASTER_KEY" if it.settings.master_key else str(path)
    is_used = it.contents is not None and it.contents.is_sealed
    if not it.settings.master_key and not path.exists():
        if is_used:
            notes.fault(
                f"There is no {path}, and this database was used with one: {it.contents.sealed if it.contents else 0}"
                " stored values cannot be opened.",
                "Put the file back from where you keep it, or set TRUNKLINE_MASTER_KEY.",
            )
        else:
            notes.ok(f"There is no {path} yet; `serve` makes it.")
        return
    try:
        vault = Vault.at(it.settings.data_dir, it.settings.master_key)
        if is_used and it.database is not None:
            configuration = Configuration(it.database, vault, GatewayRules(it.settings.gateway, authenticated=False))
            await configuration.check()
            _, it.registry = await configuration.load()
    except (SettingsError, *AWAY) as error:
        notes.fault(first_line(error), f"Put the right key into {where}. Values sealed with another cannot be opened.")
        return
    count = it.contents.sealed if it.contents else 0
    notes.ok(f"{where} opens all {count} stored values." if it.registry else f"{where} can be read.")


def journal(it: Installation, notes: Notes) -> None:
    """What waits for the database, and what could not be read."""
    directory = it.settings.data_dir / "journal"
    try:
        found = survey(directory)
    except OSError as error:
        notes.fault(f"{directory} cannot be read: {error.strerror}.", "Give it to the user that runs the gateway.")
        return
    for name in found.damaged:
        notes.warning(
            f"{directory / name} is damaged in places; the rest of it is read all the same.",
            "Look at the disk. The file is kept as .corrupt when it was read.",
        )
    if found.corrupt:
        notes.warning(
            f"{len(found.corrupt)} files were put away as damaged, such as {directory / found.corrupt[0]}.",
            "Look at the disk; delete them when nobody needs them.",
        )
    if found.set_aside:
        notes.warning(
            f"{len(found.set_aside)} files hold records that the database would not have.",
            "They are tried again at the next start; the gateway's log says why they were refused.",
        )
    if found.bytes > it.settings.journal_limit * 2**20 * 0.8:
        notes.warning(
            f"The journal has {megabytes(found.bytes)} of the {it.settings.journal_limit} MiB that it may.",
            "Bring the database back, or raise journal_limit: at the limit records are lost.",
        )
    if not notes.findings:
        waiting = f"{found.records} records in {found.segments} files" if found.records else "Nothing"
        notes.ok(f"{waiting} wait{'' if found.records else 's'} for the database.")


async def valkey(it: Installation, notes: Notes) -> None:
    """Whether the server that processes share answers, and keeps what it is given."""
    if not it.settings.valkey_url:
        notes.ok("None is set: each process counts limits and keeps answers by itself.")
        return
    try:
        server = Valkey.open(it.settings.valkey_url)
    except SettingsError as error:
        notes.fault(str(error), "Correct valkey_url.")
        return
    from redis.exceptions import RedisError  # late: an extra, which is there where the server could be opened

    try:
        before = time.time()
        seconds, microseconds = await server.client.time()
        it.clocks[f"Valkey at {server.place}"] = seconds + microseconds / 1e6 - (before + time.time()) / 2
        await server.client.eval("return 1", 0)
        facts = await server.client.info()
    except (RedisError, OSError) as error:
        notes.fault(
            f"The server at {server.place} cannot be used: {first_line(error)}",
            "Bring it back, or correct valkey_url. Meanwhile limits count as limits_fail says.",
        )
        return
    finally:
        await server.close()
    kind = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts.get("valkey_version", facts.get("redis_version"))
    seen = f"{kind} {version} at {server.place}"
    if facts.get("role") == "slave":
        notes.fault(f"{seen} is a replica, and takes no writes.", "Name the primary in valkey_url.")
    if not facts.get("maxmemory"):
        notes.warning(
            f"{seen} has no maxmemory: the cache takes memory until the machine has none.",
            "Set maxmemory, and maxmemory-policy volatile-lru.",
        )
    elif facts.get("maxmemory_policy") == "noeviction":
        notes.warning(
            f"{seen} has the policy noeviction: once it is full, nothing can be counted or kept.",
            "Set maxmemory-policy volatile-lru.",
        )
    if facts.get("evicted_keys"):
        notes.warning(
            f"{seen} has thrown out {facts['evicted_keys']} keys for want of room; counts of limits may be among them.",
            "Give it more maxmemory.",
        )
    if not notes.findings:
        notes.ok(f"{seen}, maxmemory {megabytes(facts['maxmemory'])}, {facts['maxmemory_policy']}.")
