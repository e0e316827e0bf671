"""Memory planner: what fits on this machine, computed before anything is loaded."""
