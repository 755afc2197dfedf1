"""One API for every provider: OpenAI's chat completions, told in the words of each, and back."""
