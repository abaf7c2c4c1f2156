"""The formats of a table, a module each."""
