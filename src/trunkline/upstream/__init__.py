"""Talking to providers: one way to connect, an HTTP/1.1 pool and a WebSocket dialer on top of it."""
