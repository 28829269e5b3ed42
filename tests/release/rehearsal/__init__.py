"""The embedded world of a rehearsal, and the rehearsal itself."""
