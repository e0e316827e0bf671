"""What crosses between the engine process and its clients: requests, events, status, crash reports. Torch-free."""
