"""The second level."""
