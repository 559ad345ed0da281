"""The whole pipeline on a generated sample: it needs no input and no network."""
