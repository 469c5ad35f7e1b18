"""What Argo CD applies, and how a built image gets into it."""
