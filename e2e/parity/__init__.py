"""Our records beside RGW's own: what is done, what may differ, and how the two are compared."""
