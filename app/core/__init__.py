"""What everything is made of: settings, tasks, errors, events. No I/O."""
