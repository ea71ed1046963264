"""Configuration files: YAML to typed objects, with file, line and column in every complaint."""
