"""Artefacts on disk: fingerprints, manifests, atomic files and resumable shards.

An artefact is a folder whose last written file is ``manifest.json``. A folder without one is unfinished; a folder whose
manifest names another fingerprint is stale. Knows nothing of what the tables mean (records.py) or who writes them.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sgopd.errors import UserError

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
REPAIR = "`sgopd verify-store --repair` pulls it from the DVC remote, or clears it for the pipeline to make again."


def fingerprint(kind: str, version: int, **depends_on: Any) -> str:
    """Hash (16 hex digits) of exactly what an artefact depends on: its kind, the stage's format version, config values and
    the fingerprints of its inputs. Values must be JSON; floats and ints that are equal hash equally."""
    text = json.dumps([kind, version, _canonical(depends_on)], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(k): _canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    return value


def stream_seed(*names: object) -> int:
    """Seed (63 bits) of the random stream with this name, e.g. ``stream_seed(study.seed, "opd", "rollout", step, i)``."""
    digest = hashlib.blake2b("\x1f".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def stream(*names: object) -> np.random.Generator:
    """Random generator of the stream with this name; independent of every other stream, order and process."""
    return np.random.Generator(np.random.Philox(stream_seed(*names)))


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is fsynced and renamed to ``path``, on failure removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write the whole file or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path, text: str) -> None:
    """Write the whole file (UTF-8) or nothing."""
    atomic_write_bytes(path, text.encode())


def write_table(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Write ``table`` as Parquet under exactly ``schema`` (columns are cast and ordered; a missing one is an error)."""
    with atomic_path(path) as temporary:
        pq.write_table(table.select(schema.names).cast(schema), temporary, compression="zstd")


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a Parquet table and check it against ``schema``."""
    if not path.is_file():
        raise UserError(f"{path}: no such table. It is made by an earlier stage; run `snakemake -n` to see which.")
    try:
        table = pq.read_table(path, partitioning=None)
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise UserError(
            f"{path}: not a readable table with columns {schema.names}: {error}. Delete it and run again."
        ) from error


def rows_to_table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as dictionaries to a table under ``schema``; an unknown or missing column is an error."""
    for row in rows:
        if row.keys() != set(schema.names):
            raise ValueError(f"columns {sorted(row)} are not those of the schema, {sorted(schema.names)}")
    return pa.Table.from_pylist(rows, schema=schema)


@dataclass(frozen=True)
class Manifest:
    """What an artefact is, from what it was made, and the checksum (SHA-256) and size of each of its files.

    Holds no times and no machine names, so that the same artefact has the same manifest everywhere.
    """

    kind: str
    fingerprint: str
    inputs: dict[str, str] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


def finish(folder: Path, kind: str, fingerprint: str, inputs: dict[str, str], stats: dict[str, Any]) -> Manifest:
    """Checksum every file of ``folder`` and write its manifest last, which makes the artefact complete."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST and not path.name.endswith(".tmp"):
            files[name] = {"sha256": checksum(path), "bytes": path.stat().st_size}
    manifest = Manifest(kind, fingerprint, inputs, stats, files)
    atomic_write_text(folder / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")
    return manifest


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a complete artefact."""
    path = folder / MANIFEST
    try:
        return Manifest(**json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing, so {folder} is unfinished or half pulled. {REPAIR}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}). {REPAIR}") from error


def is_complete(folder: Path, fingerprint: str) -> bool:
    """Whether ``folder`` holds the whole artefact with this fingerprint. Files are checked by size; see ``verify``."""
    if not (folder / MANIFEST).is_file():
        return False
    manifest = read_manifest(folder)
    return manifest.fingerprint == fingerprint and all(
        (folder / name).is_file() and (folder / name).stat().st_size == entry["bytes"]
        for name, entry in manifest.files.items()
    )


def verify(folder: Path) -> Manifest:
    """The manifest of ``folder`` after comparing every file with its checksum; names the first file that differs."""
    manifest = read_manifest(folder)
    for name in manifest.files:
        _verify_file(folder, name, manifest)
    return manifest


def _verify_file(folder: Path, name: str, manifest: Manifest) -> None:
    path = folder / name
    if not path.is_file():
        raise UserError(f"{path}: missing, though its manifest lists it. {REPAIR}")
    if checksum(path) != manifest.files[name]["sha256"]:
        raise UserError(f"{path}: its checksum is not the manifest's. {REPAIR}")


def read_artefact(folder: Path, name: str, schema: pa.Schema) -> pa.Table:
    """The table ``name`` of the finished artefact in ``folder``, after comparing it with the manifest: a cache that was pulled
    by half or has rotted must not reach a run."""
    manifest = read_manifest(folder)
    if name in manifest.files:
        _verify_file(folder, name, manifest)
    return read_table(folder / name, schema)


def clear(folder: Path) -> None:
    """Remove a stale artefact, its manifest first, so that a kill halfway never leaves a folder that looks complete."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the file ``lock``; waits while another process does. A process that dies, however, lets go of it.

    A killed Snakemake leaves its jobs running on the cluster: the next call's job must wait for them, not mix with them.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with lock.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.warning("%s: another process is at work on this artefact; waiting for it", lock)
                fcntl.flock(file, fcntl.LOCK_EX)
            if not lock.exists() or lock.stat().st_ino != os.fstat(file.fileno()).st_ino:
                continue  # the one before removed it while we waited
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


class Shards:
    """Numbered parts of one long table, each written whole or not at all, so that a killed stage goes on after the last.

    They lie in ``folder`` (outside the declared output: Snakemake deletes outputs before it runs a rule again), which
    is named after the fingerprint, so that shards of another configuration are never picked up.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder, self.schema = folder, schema

    def path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.parquet"

    def missing(self, count: int) -> list[int]:
        """Numbers below ``count`` without a shard, ascending."""
        return [i for i in range(count) if not self.path(i).is_file()]

    def write(self, index: int, rows: list[dict[str, Any]]) -> None:
        write_table(self.path(index), rows_to_table(rows, self.schema), self.schema)

    def concatenate(self, count: int) -> pa.Table:
        """All shards in order as one table."""
        return pa.concat_tables([read_table(self.path(i), self.schema) for i in range(count)])

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
