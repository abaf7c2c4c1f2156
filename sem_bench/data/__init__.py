"""From a data set's card to batches of pixels."""
