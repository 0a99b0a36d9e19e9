"""Probes: small programs that find out whether something is still true."""
