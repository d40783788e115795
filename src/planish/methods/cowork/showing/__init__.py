"""What people look at: the replay of an episode and the history of a library's patches."""
