"""From item vectors to identifiers: residual quantisation, LETTER's tokenizer, collision repair."""
