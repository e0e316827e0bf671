"""A window that uses a server elsewhere: who may name one, and the link to it."""
