"""Making the knowledge base: what a controller does, or a host that looks after itself."""
