"""Where jobs run: an executor a module."""
