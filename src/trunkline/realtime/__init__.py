"""How a relayed WebSocket session unfolds: events in, effects out. No socket, no clock."""
