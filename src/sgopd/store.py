"""Artefacts on disk: fingerprints, manifests, atomic files and resumable shards.

An artefact is a folder whose last written file is ``manifest.json``. A folder without one is unfinished; a folder whose
manifest names another fingerprint is stale. Every file is checksummed and compared with its checksum before it is used.
Knows nothing of what the tables mean (records.py) or who writes them.
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
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
ROWS_AT_ONCE = 4096  # of a long table in memory; at 16,000 tokens each half a GiB


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


def clear_temporaries(path: Path) -> None:
    """Remove what killed processes left of ``path``; for who knows that no other process is writing it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        left.unlink(missing_ok=True)


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


def write_tables(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write ``tables`` one after the other as one Parquet file, holding one and ROWS_AT_ONCE rows in memory.

    The file's bytes depend on the rows alone, not on how they are cut into tables.
    """
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        waiting = schema.empty_table()
        for table in tables:
            waiting = pa.concat_tables([waiting, table.select(schema.names).cast(schema)])
            while len(waiting) >= ROWS_AT_ONCE:
                writer.write_table(waiting.slice(0, ROWS_AT_ONCE).combine_chunks())
                waiting = waiting.slice(ROWS_AT_ONCE)
        if len(waiting):
            writer.write_table(waiting.combine_chunks())


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a Parquet table and check it against ``schema``."""
    with _readable(path, schema):
        return pq.read_table(path, partitioning=None).select(schema.names).cast(schema)


def iterate_table(path: Path, schema: pa.Schema, rows: int = ROWS_AT_ONCE) -> Iterator[pa.Table]:
    """The table in parts of so many rows, the last one shorter; checked like ``read_table``."""
    with _readable(path, schema), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(rows, columns=schema.names):
            yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)


@contextlib.contextmanager
def _readable(path: Path, schema: pa.Schema) -> Iterator[None]:
    if not path.is_file():
        raise UserError(f"{path}: no such table. It is made by an earlier stage; run `snakemake -n` to see which.")
    try:
        yield
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

    Holds no times and no machine names, so that the same artefact has the same manifest everywhere. ``checksum`` is that of
    the manifest itself without this entry.
    """

    kind: str
    fingerprint: str
    inputs: dict[str, str] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    checksum: str = ""

    def text(self) -> str:
        """What stands in the file."""
        content = asdict(self)
        content["checksum"] = hashlib.sha256(
            json.dumps(content | {"checksum": ""}, sort_keys=True).encode()
        ).hexdigest()
        return json.dumps(content, indent=1, sort_keys=True) + "\n"


def finish(
    folder: Path,
    kind: str,
    fingerprint: str,
    inputs: dict[str, str],
    stats: dict[str, Any],
    files: Iterable[Path] | None = None,
) -> Manifest:
    """Checksum every file of ``folder`` (or ``files``, wherever they lie) and write its manifest last: the artefact is complete."""
    entries = {}
    for path in sorted(folder.rglob("*") if files is None else files):
        name = Path(os.path.relpath(path, folder)).as_posix()
        if path.is_file() and name != MANIFEST and not path.name.endswith(".tmp"):
            entries[name] = {"sha256": checksum(path), "bytes": path.stat().st_size}
    manifest = Manifest(kind, fingerprint, inputs, stats, entries)
    clear_temporaries(folder / MANIFEST)
    atomic_write_text(folder / MANIFEST, manifest.text())
    return manifest


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a complete artefact, after comparing it with the checksum that it holds of itself."""
    path = folder / MANIFEST
    try:
        text = path.read_text()
        manifest = Manifest(**json.loads(text))
        if manifest.checksum and manifest.text() != text:
            raise ValueError("its checksum is another")
        if not all(isinstance(entry["bytes"], int) and entry["sha256"] for entry in manifest.files.values()):
            raise ValueError("an entry of `files` has no checksum or size")
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing, so {folder} is unfinished or half pulled. {REPAIR}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}). {REPAIR}") from error
    return manifest


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
    for name, entry in manifest.files.items():
        path = Path(os.path.normpath(folder / name))
        if not path.is_file():
            raise UserError(f"{path}: missing, though its manifest lists it. {REPAIR}")
        if checksum(path) != entry["sha256"]:
            raise UserError(f"{path}: its checksum is not the manifest's. {REPAIR}")
    return manifest


_verified: dict[Path, tuple[int, str]] = {}


def verified(folder: Path, fingerprint: str) -> Path:
    """``folder``, once it is known to hold the artefact with this fingerprint and every file to be as written.

    Reads each artefact once per process (about 0.8 GB/s). Raises UserError naming the file that is damaged or stale.
    """
    try:
        state = ((folder / MANIFEST).stat().st_mtime_ns, fingerprint)
    except FileNotFoundError:
        state = (0, "")
    if state != _verified.get(folder.absolute()):
        found = verify(folder).fingerprint
        if found != fingerprint:
            raise UserError(
                f"{folder}: made with other settings or inputs (fingerprint {found}, this study needs {fingerprint}). "
                "Run the stage that makes it again; `snakemake -n` shows which."
            )
        _verified[folder.absolute()] = state
    return folder


def clear(folder: Path) -> None:
    """Remove a stale artefact, its manifest first, so that a kill halfway never leaves a folder that looks complete."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the file ``lock``; waits while another process does. A process that dies, however, lets go of it.

    A killed Snakemake leaves its jobs running on the cluster: the next call's job must wait for them, not mix with them.
    Folders made for the lock go with it if nothing else came to lie in them.
    """
    made = [folder for folder in lock.parents if not folder.exists()]
    try:
        with _held(lock):
            yield
    finally:
        with contextlib.suppress(OSError):  # not empty, or another process's by now
            for folder in made:
                folder.rmdir()


@contextlib.contextmanager
def _held(lock: Path) -> Iterator[None]:
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = lock.open("a")
        except FileNotFoundError:
            continue  # the one before took the folder with it just now
        with file:
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
    is named after the fingerprint, so that shards of another configuration are never picked up. A shard's checksum is part
    of its name, so that one rename makes both; a damaged shard is named in the log and made again.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder, self.schema = folder, schema

    def paths(self) -> dict[int, Path]:
        """Number -> file of every shard that is there."""
        found = (path for path in self.folder.glob("*-*.parquet") if not path.name.startswith("."))
        return {int(path.name.partition("-")[0]): path for path in found}

    def missing(self, count: int) -> list[int]:
        """Numbers below ``count`` without a whole shard, ascending."""
        paths = self.paths()
        for index, path in list(paths.items()):
            if _shard_name(index, path) != path.name:
                logger.warning("%s: its checksum is not the one in its name; it is made again", path)
                path.unlink()
                del paths[index]
        return [i for i in range(count) if i not in paths]

    def write(self, index: int, rows: list[dict[str, Any]]) -> None:
        new = self.folder / f"{index:05d}.new"
        write_table(new, rows_to_table(rows, self.schema), self.schema)
        new.replace(self.folder / _shard_name(index, new))

    def tables(self, count: int) -> Iterator[pa.Table]:
        """The shards in order, one at a time."""
        paths = self.paths()
        for i in range(count):
            if _shard_name(i, paths[i]) != paths[i].name:
                raise UserError(f"{paths[i]}: its checksum is not the one in its name. Delete it and run again.")
            yield read_table(paths[i], self.schema)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _shard_name(index: int, path: Path) -> str:
    return f"{index:05d}-{checksum(path)[:16]}.parquet"
