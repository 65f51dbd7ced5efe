"""Earlier verdicts by content hash, in one SQLite file that any number of processes may share.

Keeps only decisions: a timeout or a crash is tried again. Knows nothing of how a decision is made.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType

from sgopd.errors import UserError
from sgopd.verifier.pool import Outcome, Task

VERSION = 2  # raise it with every change that can change a verdict: old entries are then not found
WAIT_S = 60.0  # for another process's write to end
CHUNK = 500


class Cache:
    """A context; with ``path`` None it knows and keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.connection: sqlite3.Connection | None = None

    def __enter__(self) -> "Cache":
        if self.path is None:
            return self
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(self.path, timeout=WAIT_S)
            with self.connection:
                self.connection.execute(
                    "CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, equal INTEGER, reason TEXT) WITHOUT ROWID"
                )
        except (OSError, sqlite3.Error) as error:
            raise UserError(
                f"verifier.cache_path: {self.path} cannot be opened as a cache of verdicts ({error}); "
                "delete the file or give another path"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.connection is not None:
            self.connection.close()

    def get(self, tasks: Iterable[Task]) -> dict[Task, Outcome]:
        """The outcomes that are known; they cost 0 seconds."""
        if self.connection is None:
            return {}
        by_key = {_key(task): task for task in tasks}
        keys = list(by_key)
        found: dict[Task, Outcome] = {}
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            query = f"SELECT key, equal, reason FROM verdicts WHERE key IN ({','.join('?' * len(part))})"  # noqa: S608
            with closing(self.connection.execute(query, part)) as rows:
                for key, equal, reason in rows:
                    found[by_key[key]] = Outcome("decided", None if equal is None else bool(equal), reason, 0.0)
        return found

    def put(self, outcomes: Mapping[Task, Outcome]) -> None:
        """Keep decisions. Two processes that write the same decision do no harm."""
        if self.connection is None:
            return
        rows = [(_key(t), o.equal, o.reason) for t, o in outcomes.items() if o.kind == "decided"]
        with self.connection:
            self.connection.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)", rows)


def _key(task: Task) -> bytes:
    content = json.dumps([VERSION, task.gold, task.answer, task.decimal_places])
    return hashlib.sha256(content.encode()).digest()
