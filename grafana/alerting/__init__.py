"""Grafana's alert rules, made from those of Prometheus: one source, two engines that can run them.

    prometheus/rules/*.yml ──> rules.py ──> grafana/provisioning/alerting-grafana.yml
                                       └──> grafana/provisioning/alerting-alertmanager.yml

Which of the two files Grafana gets says which engine notifies: the first has every rule, the second
deletes every rule that was ever shipped, so that Prometheus and its Alertmanager are alone.
"""
