"""What models are asked, one short file a task, and the loader that lets a person use their own."""
