"""Folders of running trainings: scratch on this host, of which nothing is needed after a crash."""

import os
import shutil
from pathlib import Path


def made(root: Path, worker_id: str, job_id: str) -> Path:
    """An empty folder for one attempt."""
    folder = root / f"{os.getpid()}-{worker_id}" / job_id
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def sweep(root: Path) -> None:
    """Take away what workers of this host that are gone have left. Called before our first job."""
    if not root.is_dir():
        return
    for folder in root.iterdir():
        pid = folder.name.partition("-")[0]
        # Our own number: of one that had it before us, as in a container that was started anew.
        if pid.isdigit() and (int(pid) == os.getpid() or not Path(f"/proc/{pid}").exists()):
            shutil.rmtree(folder, ignore_errors=True)
