"""Editors behind one contract: exact scenes, an endpoint, a diffusion pipeline."""
