"""Perturbations relative to their images, over all of them: equation 4.9 of Matyasko's thesis (2020)."""
