"""The kind `http`: any service is a worker."""
