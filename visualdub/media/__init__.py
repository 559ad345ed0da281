"""Frame-exact decode and encode (PyAV), audio, colour metadata."""
