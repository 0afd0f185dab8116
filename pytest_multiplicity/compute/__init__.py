"""What training and inference compute with: lanes, fused forms, worker processes, memory."""
