"""What a benchmark needs torch for, run in processes of their own."""
