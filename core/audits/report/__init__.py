"""The report of an audit: everything that it found as one JSON document, and as one page for the person who decides."""
