"""Verdicts on texts and rows: answers, citations and quotes, copies. No model is needed."""
