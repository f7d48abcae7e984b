"""From a trained checkpoint to a bundle the runtime can run."""
