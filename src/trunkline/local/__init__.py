"""The embedded provider: real models that chat, listen and speak without a network, in a process of their own."""
