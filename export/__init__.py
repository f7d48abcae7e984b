"""From a trained checkpoint to a bundle the runtime can run; from a look to a table that editors read."""
