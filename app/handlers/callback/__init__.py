"""The kind `callback`: tells whoever asked for it that a task or a group has ended."""
