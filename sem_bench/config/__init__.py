"""From YAML text to frozen models, with a line for every mistake; cards, and the library that finds them."""
