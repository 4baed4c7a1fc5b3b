"""Penstock's tests: behaviour on the real Postgres, Redis, Kafka protocol, Celery and vLLM."""

import os
import sys

# Before anything loads numpy or torch, and for the processes that tests start: by default each of them has as many
# threads as there are cores, which spin while they wait for each other (2.5 times the processor time of one thread).
# Benchmarks import the rig too, and measure what a user has.
if "pytest" in sys.modules:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
