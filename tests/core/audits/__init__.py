"""What audits do, mirrored from core/audits."""
