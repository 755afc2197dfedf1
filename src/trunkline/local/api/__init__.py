"""The embedded provider's HTTP and WebSocket interface: OpenAI's API, and as strict."""
