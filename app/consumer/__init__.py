"""The process that runs tasks: `python -m app.consumer`."""
