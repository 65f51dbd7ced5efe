"""The prompts stage on real files: seconds and rows, with a byte-level tokenizer that is trained on the spot.

    python -m benchmarks.prompts TRAIN.jsonl BENCHMARK.jsonl ...       # from the top of the checkout

Files hold id, problem and answer. Prints the time, and the summary that the stage wrote for the training problems.
"""

import argparse
import json
import os
import tempfile
import time
from itertools import islice
from pathlib import Path

from sgopd.config import Study
from sgopd.prompts.stage import prepare
from tests.conftest import TINY
from tests.prompts.tokenizer import save_tokenizer

VOCABULARY = 8_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("benchmarks", type=Path, nargs="+")
    arguments = parser.parse_args()
    files = {path.stem: path.resolve() for path in (arguments.train, *arguments.benchmarks)}
    sources = {name: {"kind": "file", "path": str(path), "columns": {"id": "id"}} for name, path in files.items()}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with files[arguments.train.stem].open(encoding="utf-8") as lines:
            save_tokenizer(Path("pair"), [json.loads(line)["problem"] for line in islice(lines, 3_000)], VOCABULARY)
        train = sources.pop(arguments.train.stem)
        prompts = {"train": train, "validation": {"kind": "synthetic", "count": 4}, "benchmarks": sources}
        models = {"teacher": {"path": "pair"}, "student": {"path": "pair"}}
        study = Study.model_validate(TINY | {"prompts": prompts, "models": models})
        wall, cpu = time.perf_counter(), time.process_time()
        summary = (prepare(study) / "summary.md").read_text()
        print(f"{time.perf_counter() - wall:.1f} s, of which {time.process_time() - cpu:.1f} s on the processor\n")
        print(summary.partition("### validation")[0])


if __name__ == "__main__":
    main()
