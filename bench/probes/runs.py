"""Running the witnesses in a process of their own: on this checkout, or on the files of an earlier commit."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.fair import ROOT

STORED = ROOT / "bench" / "results" / "witnesses.json"
# Exported commits, their kernels and their records: made on demand, may be deleted at any time.
SCRATCH = ROOT / ".asv" / "witnesses"

# A BLAS with several threads may sum in another order from run to run. OMP_NUM_THREADS would also forbid teams.
SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "FASTBP_NUM_THREADS": "2",
    "PYTHONHASHSEED": "0",
}
# Variables that also change which code is compiled or chosen.
SWITCHES = (
    "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT", "NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT", "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES",
)  # fmt: skip
PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "scikit-learn")


def programs() -> dict[str, Any]:
    """Return every witness by name, in order."""
    from bench.probes import estimators, feeding, networks

    return {name: run for room in (networks, feeding, estimators) for name, run in room.witnesses()}


def environment() -> dict[str, Any]:
    """Return what the bits may depend on besides fastbp's own code."""
    import llvmlite.binding

    command = [sys.executable, "-P", "-m", "fastbp", "info", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    facts = {
        "cpu": told["vector"]["cpu"],
        "vector_bytes": told["vector"]["vector_bytes"],
        # NumPy and BLAS choose kernels by the processor itself, not by the target of ours.
        "host": llvmlite.binding.get_host_cpu_name(),
        "system": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}".strip(),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    facts |= {name: metadata.version(name) for name in PACKAGES}
    return facts | {name: os.environ[name] for name in SWITCHES if os.environ.get(name)}


def child(names: Iterable[str]) -> dict[str, Any]:
    """Run the witnesses of these names here; return their records, and where fastbp was found."""
    import fastbp

    warnings.simplefilter("ignore")  # fits that are cut short say so
    runs, records = programs(), {}
    for name in names:
        try:
            records[name] = runs[name]().record()
        except Exception as error:
            records[name] = {"error": f"{type(error).__name__}: {error}"}
    return {"fastbp": fastbp.__file__, "environment": environment(), "records": records}


def run(names: list[str], source: Path = ROOT, cache: Path | None = None) -> dict[str, Any]:
    """Run `child` in a fresh process on the fastbp that lies in the folder `source`.

    Parameters
    ----------
    names : list of str
    source : path
        Holds ``fastbp`` and ``kernels``, but no ``bench`` unless it is this checkout.
    cache : path, optional
        Folder of the compiled kernels; None is the user's own.

    Raises
    ------
    RuntimeError
        The process failed, or imported another fastbp.
    """
    env = os.environ | SETTINGS
    env.pop("OMP_NUM_THREADS", None)
    env["PYTHONPATH"] = os.pathsep.join(
        [str(source), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    if cache is not None:
        env["FASTBP_CACHE_DIR"] = str(cache)
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-P", "-m", "bench.probes.witnesses", "--child", str(answer)]
        done = subprocess.run(
            command, input=json.dumps(names), env=env, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode or not answer.exists():
            raise RuntimeError(f"the witnesses of {source} could not be run: {done.stderr.strip()[-2000:]}")
        told: dict[str, Any] = json.loads(answer.read_text())
    if source.resolve() not in Path(told["fastbp"]).resolve().parents:
        raise RuntimeError(f"expected the fastbp in {source}, but {told['fastbp']} was imported")
    return told


def git(*arguments: str, root: Path = ROOT) -> bytes:
    """Return what a git command writes.

    Raises
    ------
    RuntimeError
        It failed; the message is git's.
    """
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments[:2])}: {done.stderr.decode().strip()}")
    return done.stdout


def export(commit: str) -> Path:
    """Return a folder with the files of a commit, without its ``bench``: this one's is used."""
    target = SCRATCH / commit[:12]
    if not target.exists():
        SCRATCH.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            made = Path(folder) / "made"
            with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", commit))) as archive:
                wanted = [item for item in archive if item.name.split("/")[0] in ("fastbp", "kernels")]
                archive.extractall(made, wanted, filter="data")
            made.rename(target)
    return target


def records_of(commit: str, names: list[str], current: dict[str, Any]) -> dict[str, Any]:
    """Return the records that a commit makes here. Those it made before with the same programs are kept on disk.

    Parameters
    ----------
    commit : str
    names : list of str
    current : dict
        The environment, in which the records must be made.
    """
    digest = hashlib.sha256(json.dumps(current, sort_keys=True).encode())
    for name in ("outcome", "draws", "networks", "feeding", "estimators"):
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    kept = SCRATCH / f"{commit[:12]}-{digest.hexdigest()[:12]}.json"
    records: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    missing = [name for name in names if name not in records]
    if missing:
        told = run(missing, export(commit), SCRATCH / "cache")
        if told["environment"] != current:
            raise RuntimeError(f"{commit[:12]} ran in {told['environment']}, this checkout in {current}")
        records |= told["records"]
        unfinished = kept.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(records))
        unfinished.replace(kept)
    return {name: records[name] for name in names}
