"""The rows of files, and of the uploads and parts that large ones come from.

A file's row is inserted after its bytes are durable, and deleted before them: bytes without a row are
for the sweep, a row without bytes does not happen.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base

PENDING = "pending"
COMPLETED = "completed"
CANCELLED = "cancelled"
EXPIRED = "expired"


class File(Base):
    __tablename__ = "files"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    filename: Mapped[str]
    purpose: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64), comment="of the content, in hexadecimal")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_files_tenant", "tenant_id", "id"),
        Index("ix_files_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )


class Upload(Base):
    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    filename: Mapped[str]
    purpose: Mapped[str] = mapped_column(String(32))
    mime_type: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger, comment="announced; the parts must add up to it")
    keep_s: Mapped[int | None] = mapped_column(
        comment="the file expires so long after its creation"
    )
    status: Mapped[str] = mapped_column(String(16), server_default=PENDING)
    part_ids: Mapped[list[str] | None] = mapped_column(comment="as completed, in their order")
    # No foreign key: the file may be deleted, the upload still says what became of it.
    file_id: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("status IN ('pending','completed','cancelled','expired')", name="status"),
        Index("ix_uploads_pending", "expires_at", postgresql_where=text("status = 'pending'")),
    )


class UploadPart(Base):
    __tablename__ = "upload_parts"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), index=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
