"""The speech model: clips and synthetic sentences, network, training, per-actor adapters."""
