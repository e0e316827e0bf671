"""Usage statistics of suggestions, kept in a file on this machine and never sent anywhere."""
