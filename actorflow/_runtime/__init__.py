"""The trio shell: everything that waits, reads a clock, or acts on what the kernel has decided."""
