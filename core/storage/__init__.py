"""Where files' bytes are kept: a local folder or an S3-compatible store, behind one seam."""
