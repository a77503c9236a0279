"""What lets a loaded model write: by `generate`, in a batch that refills, or by continuous batching."""
