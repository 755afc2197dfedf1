"""The embedded voice: OpenAI's Realtime protocol over recognition, a chat model and synthesis.

socket       one WebSocket: frames in, frames out, the session's end
cascade      the shell that runs what the session asks for: the only place that waits
session      the protocol without I/O: client events, sounds and results in, effects out
events       what a client may say, and what is wrong with it otherwise
configuration    what a session is set up to do
conversation     the items in their order
responses    one answer, as the events that tell of it
hearing, turns   the input buffer, and who is speaking
prompts, brain, tools    what the chat model is asked, and by whom
sentences    text cut into what can be spoken

Imports go downwards in this order.
"""
