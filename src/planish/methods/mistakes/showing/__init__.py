"""What people look at: one page for each run, one section for each failure."""
