"""From a row to the messages of its prompt, and from the text of a completion to its parts. Texts in, texts out."""
