"""From a checkpoint to a bundle that the runtime can run; from looks to a table of colours or a site without a server.
Imports `infer`, `datasets` and `train`."""
