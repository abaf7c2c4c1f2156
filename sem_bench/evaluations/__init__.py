"""What is measured of a pretrained encoder: one module an evaluation."""
