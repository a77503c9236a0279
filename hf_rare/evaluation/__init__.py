"""What a student has learnt: its answers to held-out rows under several conditions, and rates with intervals."""
