"""The whole pipeline on a generated sample: nothing to bring, nothing to download."""
