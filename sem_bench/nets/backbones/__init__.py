"""The backbones of the project: a card each, and the functions that build them."""
