"""Gathers what a study's finished stages wrote into frames: samples, metrics, token-level rollouts, cost.

In: a study. Out: pandas frames with columns method and seed in front. Knows no statistics and no layout.
"""

import json

import pandas as pd
import pyarrow as pa

from sgopd.artefacts import PHASES, Artefacts
from sgopd.records import EVALUATIONS, GATE_TOKENS, METRICS, PROMPTS
from sgopd.store import read_manifest, read_table


def samples(artefacts: Artefacts) -> pd.DataFrame:
    """Every evaluated sample of every method and reference row (records.EVALUATIONS)."""
    frames = []
    for method, seed in artefacts.evaluated():
        frame = read_table(
            artefacts.evaluation(method, seed).checked() / "evaluations.parquet", EVALUATIONS
        ).to_pandas()
        frames.append(frame.assign(method=method, seed=seed))
    return pd.concat(frames, ignore_index=True)


def runs(artefacts: Artefacts) -> list[tuple[str, int]]:
    return [(method, seed) for method in artefacts.study.methods for seed in artefacts.study.seeds]


def _phases(artefacts: Artefacts, file: str, schema: pa.Schema) -> pd.DataFrame:
    frames = []
    for method, seed in runs(artefacts):
        for phase in PHASES:
            table = read_table(artefacts.phase(method, seed, phase).checked() / file, schema)
            frames.append(table.to_pandas().assign(method=method, seed=seed))
    return pd.concat(frames, ignore_index=True)


def metrics(artefacts: Artefacts) -> pd.DataFrame:
    """Every logged metric: step, phase, name, value, method, seed."""
    return _phases(artefacts, "metrics.parquet", METRICS)


def gate_tokens(artefacts: Artefacts) -> pd.DataFrame:
    """The rollouts kept with their per-token log-ratios, gate and advantage (records.GATE_TOKENS)."""
    return _phases(artefacts, "gate_tokens.parquet", GATE_TOKENS)


def problem_texts(artefacts: Artefacts, split: str) -> pd.DataFrame:
    """prompt_id, problem (its text) and difficulty of a split: ``train`` or a benchmark's name."""
    table = read_table(artefacts.prompts.checked() / f"{split}.parquet", PROMPTS)
    return table.select(["prompt_id", "problem", "difficulty"]).to_pandas()


def cost(artefacts: Artefacts) -> pd.DataFrame:
    """Wall-clock seconds of every run by part: method, seed, part, seconds (measured, so not the same twice)."""
    rows = []
    for method, seed in runs(artefacts):
        # a phase starts its clock anew, so the parts of the three phases add up
        for phase in PHASES:
            parts = json.loads((artefacts.phase(method, seed, phase).checked() / "seconds.json").read_text())
            rows += [{"method": method, "seed": seed, "part": part, "seconds": value} for part, value in parts.items()]
    columns = ["method", "seed", "part", "seconds"]
    return pd.DataFrame(rows, columns=columns).groupby(columns[:3], sort=False, as_index=False)["seconds"].sum()


def fingerprints(artefacts: Artefacts) -> dict[str, str]:
    """Name -> fingerprint of the shared artefacts and of the comparison, as their manifests say."""
    shared = {"prompts": artefacts.prompts, "rollouts": artefacts.rollouts, "verdicts": artefacts.verdicts}
    found = {
        name: read_manifest(artefact.folder).fingerprint
        for name, artefact in shared.items()
        if artefact.manifest.is_file()
    }
    return {role: artefacts.model(role).fingerprint for role in ("teacher", "student")} | found  # type: ignore[arg-type]
