"""Audits: evidence bound to digests, and what a model answered item by item."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "audits",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(), nullable=False, comment="as it was asked for"),
        sa.Column(
            "version_id", sa.String(length=40), nullable=True, comment="null: a served base model"
        ),
        sa.Column(
            "weights", sa.String(length=64), nullable=False, comment="digest of the served weights"
        ),
        sa.Column("adapter", sa.String(length=64), nullable=False, comment="digest; empty: none"),
        sa.Column(
            "dataset", sa.String(length=64), nullable=False,
            comment="digest of what the version was trained on; empty: nothing",
        ),
        sa.Column(
            "suites", JSONB(), nullable=False,
            comment="[{name, version, files: {name: {id, sha256}}, options, items, split, classifier}]",
        ),
        sa.Column("policy", JSONB(), nullable=True, comment="as it was then, in full"),
        sa.Column(
            "policy_name", sa.String(length=64), nullable=False, comment="empty: judged by none"
        ),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("policy_digest", sa.String(length=64), nullable=False),
        sa.Column(
            "baseline", JSONB(), nullable=True,
            comment="{model, version_id, weights, adapter, served, production}: what it is held against",
        ),
        sa.Column(
            "settings", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False,
            comment="{seed, render, confidence, imports, served: digest of the files that answer}",
        ),
        sa.Column(
            "plan", JSONB(), nullable=False, comment="what can be seen, told before the run"
        ),
        sa.Column(
            "verdict", sa.String(length=16), nullable=True, comment="null: not judged yet"
        ),
        sa.Column("findings", JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "verdict IN ('PASS','FAIL','INCONCLUSIVE','INVALID')", name=op.f("ck_audits_verdict")
        ),
        sa.CheckConstraint(
            "published_at IS NULL OR verdict IS NOT NULL", name=op.f("ck_audits_judged")
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_audits_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_audits_tenant_id_tenants")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_audits_version_id_versions")
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_audits")),
    )  # fmt: skip
    op.create_index(
        "ix_audits_evidence", "audits", ["tenant_id", "weights", "adapter", "published_at"]
    )
    op.create_index("ix_audits_version", "audits", ["version_id"])
    op.create_table(
        "audit_answers",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=8), server_default="model", nullable=False),
        sa.Column("suite", sa.String(length=64), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="its place in the suite"),
        sa.Column(
            "prompt", sa.String(), nullable=False, comment="exactly as the model was given it"
        ),
        sa.Column(
            "answer", JSONB(), nullable=False, comment="{texts, likelihoods, finish}"
        ),
        sa.Column(
            "row", JSONB(), nullable=False, comment="as it was scored: core.measures.rows.Row"
        ),
        sa.Column("usage", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_audit_answers_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "job_id", "subject", "suite", "item", name=op.f("pk_audit_answers")
        ),
        sa.UniqueConstraint(
            "job_id", "suite", "subject", "number", name="uq_audit_answers_number"
        ),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("audit_answers")
    op.drop_table("audits")
