"""The catalog: artefacts, versions of models and datasets, aliases, and the history of stages and aliases."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def _at(name: str = "created_at", *, given: bool = True) -> sa.Column[Any]:
    default = NOW if given else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=not given)


def _tenant(table: str) -> list[sa.Column[Any] | sa.ForeignKeyConstraint]:
    return [
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
    ]


def _artifact(table: str) -> list[sa.Column[Any] | sa.ForeignKeyConstraint]:
    return [
        sa.Column("artifact", sa.String(length=64), nullable=True, comment="null: collected"),
        sa.Column(
            "digest", sa.String(length=64), nullable=False,
            comment="the artefact's, also once it is collected",
        ),
        sa.ForeignKeyConstraint(
            ["artifact"], ["artifacts.digest"], name=op.f(f"fk_{table}_artifact")
        ),
    ]  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("place", sa.String(length=40), nullable=False, comment="of its bytes in the store"),
        sa.Column("files", JSONB(), nullable=False, comment="[{path, bytes, sha256}]"),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        _at(),
        sa.CheckConstraint("kind IN ('adapter','model','dataset')", name=op.f("ck_artifacts_kind")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_artifacts")),
        sa.UniqueConstraint("place", name=op.f("uq_artifacts_place")),
    )  # fmt: skip
    _versions()
    _dataset_versions()
    _aliases()


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("id", sa.String(length=40), nullable=False),
        *_tenant("versions"),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("base", sa.String(), nullable=False, comment="the served model's name"),
        sa.Column("base_digest", sa.String(length=64), nullable=False),
        sa.Column("suffix", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="of this tenant, base and suffix"),
        *_artifact("versions"),
        sa.Column("stage", sa.String(length=16), server_default="candidate", nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("lineage", JSONB(), nullable=False),
        sa.Column("metrics", JSONB(), nullable=False),
        sa.Column("context", sa.Integer(), nullable=False, comment="tokens"),
        _at(),
        _at("published_at", given=False),
        _at("retired_at", given=False),
        sa.CheckConstraint("kind IN ('adapter','full')", name=op.f("ck_versions_kind")),
        sa.CheckConstraint(
            "stage IN ('candidate','staging','production','retired')", name=op.f("ck_versions_stage")
        ),
        sa.CheckConstraint(
            "(stage = 'retired') = (retired_at IS NOT NULL)", name=op.f("ck_versions_retired")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        sa.UniqueConstraint("name", name=op.f("uq_versions_name")),
        sa.UniqueConstraint("job_id", name=op.f("uq_versions_job_id")),
        sa.UniqueConstraint(
            "tenant_id", "base", "suffix", "number", name="uq_versions_number"
        ),
    )  # fmt: skip
    op.create_index("ix_versions_artifact", "versions", ["artifact"])
    op.create_table(
        "stage_moves",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("version_id", sa.String(length=40), nullable=False),
        sa.Column("was", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        _at("at"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"],
            name=op.f("fk_stage_moves_version_id"), ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_moves")),
    )  # fmt: skip
    op.create_index("ix_stage_moves_version_id", "stage_moves", ["version_id"])


def _dataset_versions() -> None:
    op.create_table(
        "dataset_versions",
        sa.Column("id", sa.String(length=40), nullable=False),
        *_tenant("dataset_versions"),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="of this tenant and name"),
        *_artifact("dataset_versions"),
        sa.Column("report", JSONB(), nullable=False),
        sa.Column("lineage", JSONB(), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        _at(),
        _at("published_at", given=False),
        _at("retired_at", given=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_versions")),
        sa.UniqueConstraint("job_id", name=op.f("uq_dataset_versions_job_id")),
        sa.UniqueConstraint("tenant_id", "name", "number", name="uq_dataset_versions_number"),
    )
    op.create_index("ix_dataset_versions_artifact", "dataset_versions", ["artifact"])


def _aliases() -> None:
    op.create_table(
        "aliases",
        *_tenant("aliases"),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(), nullable=False, comment="a model's or version's name"),
        sa.Column("version_id", sa.String(length=40), nullable=True, comment="null: a base model"),
        _at("moved_at"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_aliases_version_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_aliases")),
    )
    op.create_index("ix_aliases_version_id", "aliases", ["version_id"])
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        *_tenant("alias_moves"),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("was", sa.String(), nullable=True, comment="null: there was none"),
        sa.Column("target", sa.String(), nullable=True, comment="null: deleted"),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column(
            "undoes", sa.BigInteger(), nullable=True, comment="the move that a rollback takes back"
        ),
        _at("at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_moves")),
    )
    op.create_index("ix_alias_moves_name", "alias_moves", ["tenant_id", "name", "id"])


def downgrade() -> None:
    for table in (
        "alias_moves", "aliases", "dataset_versions", "stage_moves", "versions", "artifacts",
    ):  # fmt: skip
        op.drop_table(table)
