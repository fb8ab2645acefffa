"""What is done with detections: drawn on the picture, written to a file that a person or a tool opens."""
