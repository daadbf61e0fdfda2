"""What becomes of closed files: links, compression, deletion, holds, erasure."""
