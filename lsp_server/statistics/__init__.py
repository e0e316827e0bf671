"""What becomes of suggestions: watched in the editor, kept in a file of the person's own, never sent anywhere."""
