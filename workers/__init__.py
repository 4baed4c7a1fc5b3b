"""Jobs in, results out: the processes that claim, run and record. Knows core; never api or fastapi."""
