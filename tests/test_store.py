"""Fingerprints, atomic files, manifests and shards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgopd import store
from sgopd.errors import UserError

SCHEMA = pa.schema([("x", pa.int32()), ("ys", pa.list_(pa.float32()))])
ROWS = [{"x": 1, "ys": [0.5, 1.5]}, {"x": 2, "ys": []}]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), json_values, max_size=4))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(settings: dict) -> None:
    settings = {f"k_{key}": value for key, value in settings.items()}
    backwards = dict(reversed(list(settings.items())))
    assert store.fingerprint("stage", 1, **settings) == store.fingerprint("stage", 1, **backwards)


def test_a_fingerprint_changes_with_kind_version_and_every_value() -> None:
    prints = {
        store.fingerprint("a", 1, x=1),
        store.fingerprint("b", 1, x=1),
        store.fingerprint("a", 2, x=1),
        store.fingerprint("a", 1, x=2),
        store.fingerprint("a", 1, y=1),
        store.fingerprint("a", 1, x=[1]),
        store.fingerprint("a", 1, x="1"),
    }
    assert len(prints) == 7


def test_one_and_one_point_zero_have_the_same_fingerprint() -> None:
    assert store.fingerprint("a", 1, x={"y": [1]}) == store.fingerprint("a", 1, x={"y": [1.0]})


def test_streams_of_different_names_differ_and_the_same_name_repeats() -> None:
    assert store.stream("a", 1).random() == store.stream("a", 1).random()
    assert store.stream("a", 1).random() != store.stream("a", 2).random()
    assert store.stream_seed("a", 11) != store.stream_seed("a1", 1)  # names are separated, not glued


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    store.atomic_write_text(path, "old")
    with pytest.raises(RuntimeError), store.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_writer_killed_in_the_middle_leaves_the_old_file_and_what_it_wrote_can_be_cleared(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    store.atomic_write_text(path, "old")
    script = (
        "import sys, time; from pathlib import Path; from sgopd import store\n"
        "with store.atomic_path(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); print('writing', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 2
    store.clear_temporaries(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    table = store.rows_to_table(ROWS, SCHEMA)
    store.write_table(tmp_path / "t.parquet", table, SCHEMA)
    assert store.read_table(tmp_path / "t.parquet", SCHEMA).to_pylist() == ROWS


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store.write_table(tmp_path / name, store.rows_to_table(ROWS, SCHEMA), SCHEMA)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_row_with_a_wrong_column_is_refused() -> None:
    with pytest.raises(ValueError, match="not those of the schema"):
        store.rows_to_table([{"x": 1, "zs": []}], SCHEMA)


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense", b"\0" * 100])
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.parquet"):
        store.read_table(tmp_path / "t.parquet", SCHEMA)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t\.parquet: no such table"):
        store.read_table(tmp_path / "t.parquet", SCHEMA)


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    folder = tmp_path / "artefact"
    (folder / "below").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"aaaa")
    (folder / "below" / "b.bin").write_bytes(b"bbbb")
    store.finish(folder, "kind", "f" * 16, {"input": "0" * 16}, {"rows": 3})
    return folder


def test_a_finished_artefact_is_complete_for_its_fingerprint_only(artefact: Path) -> None:
    assert store.is_complete(artefact, "f" * 16)
    assert not store.is_complete(artefact, "e" * 16)
    assert store.verify(artefact).stats == {"rows": 3}


def test_an_artefact_without_its_manifest_or_a_file_is_not_complete(artefact: Path) -> None:
    (artefact / "a.bin").unlink()
    assert not store.is_complete(artefact, "f" * 16)
    with pytest.raises(UserError, match=r"a\.bin: missing"):
        store.verify(artefact)
    (artefact / "manifest.json").unlink()
    assert not store.is_complete(artefact, "f" * 16)


def test_one_flipped_byte_is_found_and_its_file_named(artefact: Path) -> None:
    (artefact / "below" / "b.bin").write_bytes(b"bbbc")
    with pytest.raises(UserError, match=r"b\.bin: its checksum"):
        store.verify(artefact)


def test_a_damaged_manifest_is_named(artefact: Path) -> None:
    (artefact / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        store.is_complete(artefact, "f" * 16)


def test_clearing_removes_the_folder(artefact: Path) -> None:
    store.clear(artefact)
    assert not artefact.exists()


def test_shards_say_what_is_missing_and_come_back_in_order(tmp_path: Path) -> None:
    shards = store.Shards(tmp_path / "shards", SCHEMA)
    assert shards.missing(3) == [0, 1, 2]
    shards.write(2, [ROWS[1]])
    shards.write(0, [ROWS[0]])
    assert shards.missing(3) == [1]
    shards.write(1, [])
    assert [row for table in shards.tables(3) for row in table.to_pylist()] == ROWS
    shards.remove()
    assert shards.missing(1) == [0]


def test_a_process_waits_for_another_at_work_on_the_same_artefact_and_no_lock_is_left(tmp_path: Path) -> None:
    lock = tmp_path / ".artefact.lock"
    script = (
        "import sys, time; from pathlib import Path; from sgopd import store\n"
        "with store.alone(Path(sys.argv[1])):\n"
        "    print('at work', flush=True); time.sleep(1); Path(sys.argv[2]).touch()"
    )
    command = [sys.executable, "-c", script, str(lock), str(tmp_path / "done")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "at work\n"
    with store.alone(lock):
        assert (tmp_path / "done").exists()
    process.wait()
    assert not lock.exists()


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".artefact.lock").touch()
    with store.alone(tmp_path / ".artefact.lock"):
        pass
    assert not (tmp_path / ".artefact.lock").exists()


def test_a_table_that_differs_from_its_manifest_is_not_read(tmp_path: Path) -> None:
    store.write_table(tmp_path / "t.parquet", store.rows_to_table(ROWS, SCHEMA), SCHEMA)
    store.finish(tmp_path, "kind", "f" * 16, {}, {})
    store.write_table(tmp_path / "t.parquet", store.rows_to_table(ROWS[:1], SCHEMA), SCHEMA)
    with pytest.raises(UserError, match=r"t\.parquet: its checksum.*verify-store"):
        store.verified(tmp_path, "f" * 16)
