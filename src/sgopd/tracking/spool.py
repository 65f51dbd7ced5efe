"""The files that hold what was logged until MLflow has it: one JSON record per line, one file per job."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SPOOL = Path("mlflow-spool")

Record = dict[str, Any]


class SpoolFile:
    """One JSON record per line; locked by the process that writes or sends it. BlockingIOError if another one does."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        path.parent.mkdir(exist_ok=True)
        self.path = path
        self._file = path.open("a+b" if new else "r+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise

    def append(self, record: Record) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()

    def read(self, offset: int) -> tuple[list[Record], int]:
        """The whole records from ``offset`` on, and where they end; a torn last line (killed while writing) is left."""
        self._file.seek(offset)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        return [json.loads(line) for line in whole.splitlines()], offset + len(whole)

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Jobs of one machine create tables, experiment and runs one after the other: MLflow itself would make doubles."""
    SPOOL.mkdir(exist_ok=True)
    with (SPOOL / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
