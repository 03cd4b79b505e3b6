"""What the scenarios share: building, child processes, measuring, reporting."""
