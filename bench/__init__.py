"""What choices are worth: scripts that measure them side by side."""
