"""Landmarks, face models, fitting, visibility, crop, masks, UV rasteriser (numpy and numba)."""
