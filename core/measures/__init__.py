"""Published definitions of what is measured, and the statistics around each figure: pure functions."""
