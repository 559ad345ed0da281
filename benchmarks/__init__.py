"""What is measured, each as `python -m benchmarks.NAME`; no part of what is installed."""
