"""Visual Dub's core: what a dub is made of, from decoding a clip to encoding it again."""

__version__ = "0.1.0"
