"""Python clients of realtime voice, each in a program of its own."""
