"""How figures look, the parts of which they are made, and writing them."""
