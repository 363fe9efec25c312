"""The kind `simulate`."""
