"""The WebSocket data plane: realtime sessions of any provider, relayed, recorded, governed and kept alive."""

from trunkline.server.voice.plane import VoicePlane
from trunkline.server.voice.webrtc import WebRtcCalls

__all__ = ["VoicePlane", "WebRtcCalls"]
