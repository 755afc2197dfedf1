"""Real client libraries, unmodified, on the realtime voice of a running gateway."""
