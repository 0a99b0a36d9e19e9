"""The dashboard: peers and roofline on a front page of our own, asv's trend graphs behind it, no foreign host."""
