"""The embeddings of the project, a card and a class each."""
