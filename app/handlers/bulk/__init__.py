"""The kind `bulk`."""
