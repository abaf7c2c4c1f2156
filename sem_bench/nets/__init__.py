"""Encoders: embeddings and backbones, a card each, and foreign weights."""
