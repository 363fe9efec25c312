"""Other task queues, each in a virtual environment of its own, measured as Taskmill is."""
