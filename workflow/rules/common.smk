# The study, its grid points, and which fingerprint belongs to whom. Paths and fingerprints come from sgopd.artefacts.
import re
import shlex
import sys
from pathlib import Path

from sgopd.artefacts import Artefacts, uses_cache
from sgopd.study_files import load_studies
from sgopd.errors import UserError
from sgopd.launch import command, on_nodes

# A cluster signals every process of a job: shell and tee must outlive the stage, which saves and leaves
shell.prefix("trap '' TERM; ")

STUDY = Path(config.get("study", "configs/tiny.yaml"))
try:
    POINTS = [Artefacts(study) for study in load_studies(STUDY)]
except UserError as error:
    print(f"sgopd: {error}", file=sys.stderr)
    sys.exit(2)

# sgopd, or sgopd under torchrun where the study asks for several processes (one per GPU); on all its nodes for the stages of a run
SGOPD = command(POINTS[0].study.hardware)
NODES = POINTS[0].study.hardware.nodes
SGOPD_ON_NODES = command(POINTS[0].study.hardware, nodes=NODES)

BY_RESULTS = {str(point.results): point for point in POINTS}
RESULTS = "|".join(re.escape(results) for results in BY_RESULTS)
TOP = str(POINTS[0].results.parent) if POINTS[0].study.point else str(POINTS[0].results)

# fingerprint -> a point that has it: shared artefacts are made once, whichever point asks first
MODELS = {
    point.model(role).fingerprint: (point, role)
    for point in POINTS
    for role in ("teacher", "student")
}
PROMPTS = {point.prompts.fingerprint: point for point in POINTS}
ROLLOUTS = {point.rollouts.fingerprint: point for point in POINTS}
VERDICTS = {point.verdicts.fingerprint: point for point in POINTS}


wildcard_constraints:
    results=RESULTS,
    fingerprint="[0-9a-f]{16}",
    method=r"[A-Za-z0-9][A-Za-z0-9_.=+-]*",
    seed="[0-9]+",
    phase="[123]",


def at(results):
    """The point of the study whose outputs lie in this folder."""
    return BY_RESULTS[results]


def made(*artefacts):
    """Manifests of shared artefacts as inputs whose dates mean nothing, since `dvc pull` makes new ones: what such an artefact
    depends on is in its path. Not for a run's phases: Snakemake does not run again what depends on an ancient input alone.
    """
    return [ancient(str(artefact.manifest)) for artefact in artefacts]


def trained(point, *roles):
    """Manifests of those models of the pair that the pipeline trains itself."""
    return made(*(point.model(role) for role in roles if point.trains(role)))


def study_of(point):
    """--study and --point for a stage's command line; both are checked names, quoted all the same."""
    point_option = (
        f" --point {shlex.quote(point.study.point)}" if point.study.point else ""
    )
    return f"--study {shlex.quote(str(STUDY))}{point_option}"


def asked(stage):
    """What the study's jobs of this stage ask of a cluster (gpu, mem_mb, runtime, slurm_partition, slurm_account)."""
    return POINTS[0].study.asks(stage)


FINAL = [f"{results}/report.html" for results in BY_RESULTS]
if POINTS[0].study.point:
    FINAL.append(f"{TOP}/tables/grid.md")
