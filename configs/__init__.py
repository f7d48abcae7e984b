"""Training configurations (YAML)."""
