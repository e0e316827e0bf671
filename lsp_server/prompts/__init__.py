"""Prompt templates, one Markdown file per task, which a user can override."""
