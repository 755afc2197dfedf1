"""The embedded voice: OpenAI's Realtime protocol over recognition, a chat model and synthesis.

    socket                  one WebSocket: frames in, frames out, the session's end
    cascade                 the shell that carries out what the session asks for
    answering               the making of one answer: written, cut into passages, spoken
    session                 the protocol without I/O: client events, sounds and results in, effects out
    brain, tools            who writes the answers
    responses, usage        one answer, as the events that tell of it
    prompts                 the conversation as the chat model is asked it
    conversation            the items in their order
    configuration           what a session is set up to do
    events, mistakes        what a client may say, and what is wrong with it otherwise
    hearing, turns          the input buffer, and who is speaking
    sentences               text cut into what can be spoken

Imports go downwards in this order.
"""
