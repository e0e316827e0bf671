"""The model behind the language server: the local engine or a remote server, behind one interface."""
