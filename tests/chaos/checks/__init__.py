"""What must hold of a history, a subject a file: each check takes the index of a history and yields violations."""
