"""From scores of tokens to identifiers that exist: the trie, beam search, exact scoring."""
