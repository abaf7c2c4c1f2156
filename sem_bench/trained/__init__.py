"""Trained encoders of a results folder, for use elsewhere: to load, to read features from, to export."""
