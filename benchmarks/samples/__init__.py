"""Small movies made by FFmpeg's libraries alone, for benchmarks and tests."""
