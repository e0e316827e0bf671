"""Command-line front ends: parse arguments, call the package that does the work, print."""
