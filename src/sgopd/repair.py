"""Finds damaged artefacts by their manifests and brings them back: from the DVC remote, or by letting the pipeline make them.

In: folders such as data and results. Out: what is damaged and why; after ``repair``, what became of it.
"""

import subprocess
import sys
from pathlib import Path

from sgopd.errors import UserError
from sgopd.store import MANIFEST, clear, verify


def artefacts(folders: list[Path]) -> list[Path]:
    """Every artefact's folder below ``folders``: those with a manifest, and those of data/<kind>/<fingerprint> without."""
    found = {path.parent for folder in folders for path in folder.rglob(MANIFEST)}
    for folder in folders:
        kinds = [path for path in folder.glob("*") if path.is_dir() and path.name != "logs"]
        found |= {path for kind in kinds for path in kind.glob("[0-9a-f]" * 16) if path.is_dir()}
    return sorted(found)


def damage(folder: Path) -> str:
    """What is wrong with the artefact, naming the first bad file; empty if nothing is."""
    try:
        verify(folder)
    except UserError as error:
        return str(error)
    return ""


def repair(folder: Path) -> str:
    """Remove the damaged artefact and pull it again if DVC has it; returns what was done.

    Nothing beside the folder is touched: what was made since the last `dvc add` stays. An artefact that the remote does not
    have, or has damaged too, stays away, so that Snakemake makes it again.
    """
    clear(folder)
    command = [sys.executable, "-m", "dvc", "pull", "--quiet", "--force", str(folder)]
    pulled = subprocess.run(command, capture_output=True, text=True)
    if pulled.returncode == 0 and folder.is_dir():
        problem = damage(folder)
        if not problem:
            return "pulled from the DVC remote"
        clear(folder)
        return f"removed: the DVC remote's copy is damaged too ({problem})"
    return "removed: the DVC remote does not have it"
