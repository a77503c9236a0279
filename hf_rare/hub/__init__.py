"""To the Hub in one commit."""
