"""HTTP in, HTTP out. Knows core; never workers, celery, torch or vllm."""
