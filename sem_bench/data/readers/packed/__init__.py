"""Readers of images that are packed with their labels into a few large files."""
