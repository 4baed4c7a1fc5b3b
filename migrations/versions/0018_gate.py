"""The gate: policies, roles, admissions, withdrawals; what is in production gets 30 days to show evidence."""

import hashlib
import json
from fnmatch import fnmatchcase
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
_DOORS = ("prod", "production", "prod[-._]*", "production[-._]*")


def upgrade() -> None:
    op.add_column(
        "api_keys",
        sa.Column(
            "roles", ARRAY(sa.Text()), server_default="{}", nullable=False,
            comment="what its holder may do beyond the rest",
        ),
    )  # fmt: skip
    op.add_column(
        "versions",
        sa.Column(
            "withdrawn_at", sa.DateTime(timezone=True), nullable=True,
            comment="until it passes the gate again it is not asked",
        ),
    )  # fmt: skip
    for table in ("stage_moves", "alias_moves"):
        op.add_column(
            table,
            sa.Column(
                "audit", sa.String(length=40), nullable=True, comment="the evidence that decided"
            ),
        )
    _policies()
    _passes()
    _let_stand()


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_policies_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "name", "version", name=op.f("pk_policies")),
    )
    op.create_table(
        "gates",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("policy_name", sa.String(length=64), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_gates_tenant_id_tenants")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "policy_name", "policy_version"],
            ["policies.tenant_id", "policies.name", "policies.version"],
            name=op.f("fk_gates_policy"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_gates")),
    )


def _passes() -> None:
    op.create_table(
        "gate_passes",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column(
            "door", sa.String(length=80), nullable=False, comment="production, or alias:<name>"
        ),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column(
            "version_id", sa.String(length=40), nullable=True, comment="null: a served base model"
        ),
        sa.Column("weights", sa.String(length=64), nullable=False),
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column(
            "audit", sa.String(length=40), nullable=True, comment="the evidence; null: forced"
        ),
        sa.Column("policy_name", sa.String(length=64), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("policy_digest", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column(
            "lacking", JSONB(), server_default="[]", nullable=False,
            comment="what it was forced past, in words",
        ),
        sa.Column(
            "expires_at", sa.DateTime(timezone=True), nullable=True, comment="of a forced one"
        ),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("warned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "withdrawn_by", sa.String(length=40), nullable=True, comment="the failing audit"
        ),
        sa.CheckConstraint(
            "audit IS NOT NULL OR (reason <> '' AND expires_at IS NOT NULL)",
            name=op.f("ck_gate_passes_forced"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_gate_passes_tenant_id_tenants")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_gate_passes_version_id_versions"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_passes")),
    )  # fmt: skip
    op.create_index(
        "ix_gate_passes_standing", "gate_passes", ["tenant_id", "door", "weights", "adapter", "id"]
    )


def _let_stand() -> None:
    """Otherwise everything in production would be gone from routing the second this is there."""
    bind = op.get_bind()
    versions = bind.execute(
        sa.text(
            """SELECT 'production' AS door, v.tenant_id, v.name, v.id, v.kind, v.base_digest, v.digest, v.lineage
               FROM versions v WHERE v.stage = 'production'
               UNION ALL
               SELECT 'alias:' || a.name, a.tenant_id, a.target, v.id, coalesce(v.kind, 'base'),
                      coalesce(v.base_digest, m.digest, ''), coalesce(v.digest, ''), v.lineage
               FROM aliases a LEFT JOIN versions v ON v.id = a.version_id
                    LEFT JOIN models m ON m.name = a.target"""
        )
    ).all()
    rows = [_row(one) for one in versions if _gated(one.door)]
    if rows:
        bind.execute(
            sa.text(
                """INSERT INTO gate_passes (tenant_id, door, model, version_id, weights, adapter, dataset,
                       policy_name, policy_version, policy_digest, key_id, reason, expires_at)
                   VALUES (:tenant, :door, :model, :version, :weights, :adapter, :dataset,
                       'default', 1, '', 'migration', 'it stood here before there was a gate',
                       now() + interval '30 days')"""
            ),
            rows,
        )


def _gated(door: str) -> bool:
    name = door.removeprefix("alias:").lower()
    return door == "production" or any(fnmatchcase(name, pattern) for pattern in _DOORS)


def _row(one: sa.Row[Any]) -> dict[str, str | None]:
    adapter = one.digest if one.kind == "adapter" else ""
    return {
        "tenant": one.tenant_id,
        "door": one.door,
        "model": one.name,
        "version": one.id,
        "weights": one.digest if one.kind == "full" else one.base_digest,
        "adapter": adapter,
        "dataset": _dataset(one.lineage or {}),
    }


def _dataset(lineage: dict[str, Any]) -> str:
    """As core/catalog/subjects.py has it at this revision."""
    digests = sorted(d.get("sha256") or d.get("digest") or "" for d in lineage.get("data") or [])
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest() if digests else ""


def downgrade() -> None:
    op.drop_table("gate_passes")
    op.drop_table("gates")
    op.drop_table("policies")
    for table in ("alias_moves", "stage_moves"):
        op.drop_column(table, "audit")
    op.drop_column("versions", "withdrawn_at")
    op.drop_column("api_keys", "roles")
