"""Infilling benchmarks: holes in source files or HumanEval-infilling tasks, batch generation, scoring, report."""
