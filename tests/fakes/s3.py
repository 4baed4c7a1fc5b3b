"""A real S3 server for the tests: the nanio package, which checks signatures and keeps objects as files."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from core.config import Settings
from infra.folder import free_port
from infra.part import Part

ACCESS, SECRET, BUCKET = "penstock", "penstock-secret", "penstock"


@dataclass
class S3Server:
    """`folder` holds what the server holds: a folder a bucket, unfinished uploads below .nanio."""

    part: Part
    folder: Path
    url: str

    def env(self, prefix: str = "files") -> dict[str, str]:
        """The settings that make this server the store."""
        return {
            "PENSTOCK_STORAGE_URL": f"s3://{BUCKET}/{prefix}",
            "PENSTOCK_S3_ENDPOINT": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def settings(
        self, prefix: str = "files", *, secret: str = SECRET, bucket: str = BUCKET
    ) -> Settings:
        return Settings(
            _env_file=None,
            storage_url=f"s3://{bucket}/{prefix}",
            s3_endpoint=self.url,
            aws_access_key_id=ACCESS,
            aws_secret_access_key=secret,
            aws_region="us-east-1",
        )

    def unfinished(self) -> list[Path]:
        """Parts of multipart uploads that are neither completed nor aborted."""
        return list((self.folder / ".nanio" / "multipart").glob("*/parts/*.bin"))


def server(folder: Path) -> S3Server:
    """One with an empty bucket; not started yet."""
    (folder / "data" / BUCKET).mkdir(parents=True)
    (folder / "logs").mkdir()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "nanio", "serve", "--data-dir", str(folder / "data")]
    part = Part(
        name="s3",
        argv=[*argv, "--host", "127.0.0.1", "--port", str(port), "--no-access-log"],
        env={
            "PATH": os.environ.get("PATH", ""),
            "NANIO_ACCESS_KEY": ACCESS,
            "NANIO_SECRET_KEY": SECRET,
        },
        log=folder / "logs" / "s3.log",
        ready=lambda: _answers(url),
    )
    return S3Server(part, folder / "data", url)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    made = server(Path(tmp_path_factory.mktemp("s3")))
    made.part.start()
    yield made
    made.part.kill()
