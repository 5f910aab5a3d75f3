"""What Grafana shows and says: boards, alert rules and provisioning, all made from code."""
