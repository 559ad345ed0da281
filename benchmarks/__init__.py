"""What is measured, each as `python -m benchmarks.NAME`; no part of what is installed."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `vdub` has it
