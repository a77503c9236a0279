"""Nothing generated is lost and nobody hangs: journal, checkpoint, limits, and the processes of a job."""
