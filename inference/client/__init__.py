"""Client of the engine: find or start its process, speak to it over HTTP, end it when it hangs. Torch-free."""
