"""From ids to ids, one step at a time. Knows no sockets, no threads and no editors."""
