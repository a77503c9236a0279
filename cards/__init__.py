"""The templates of the cards, as package data of `hf_rare.cards`."""
